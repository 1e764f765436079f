/* records.c - tls/records.c against a parser that has the whole stream. */
#include "checked.h"

#include "tls/records.h"

#include <string.h>

#define ROUNDS 2000
#define STREAM 6000

/* Of base/check.c, which needs Python. */
void
al_check_fail(const char *file, int line, int number, const char *condition)
{
    fprintf(stderr, "%s:%d: (%d) ", file, line, number);
    check_fail(line, condition);
}

static unsigned char stream[STREAM];

/* Make a stream of records, with a fault in some. -> its size. */
static size_t
make_stream(void)
{
    size_t size = 0;
    size_t longest = (size_t[]){3, 40, 700, 3000}[random_below(4)];
    size_t faults = random_below(2) == 0 ? 0 : 1 + random_below(20);

    while (size + AL_TLS_HEADER + longest < STREAM) {
        size_t length = random_below(longest + 1);
        unsigned char *header = stream + size;

        header[0] = (unsigned char)(20 + random_below(5));
        header[1] = 3;
        header[2] = (unsigned char)random_below(5);
        header[3] = (unsigned char)(length >> 8);
        header[4] = (unsigned char)length;
        if (faults > 0 && random_below(faults) == 0) {
            header[random_below(AL_TLS_HEADER)] =
                (unsigned char)random_below(256);
        }
        size += AL_TLS_HEADER;
        for (size_t i = 0; i < length; i++) {
            stream[size++] = (unsigned char)random_below(256);
        }
    }
    return size;
}

/* How many of the first `size` bytes belong to an incomplete record; -1: this
 * is not TLS. */
static long
parse(size_t size)
{
    size_t place = 0;

    for (;;) {
        size_t left = size - place;
        const unsigned char *header = stream + place;

        if ((left > 0 && (header[0] < 20 || header[0] > 24)) ||
            (left > 1 && header[1] != 3))
        {
            return -1;
        }
        if (left < AL_TLS_HEADER) {
            return (long)left;
        }
        size_t length = ((size_t)header[3] << 8) | header[4];
        if (length > 16384 + 2048) {
            return -1;
        }
        if (left < AL_TLS_HEADER + length) {
            return (long)left;
        }
        place += AL_TLS_HEADER + length;
    }
}

static void
run_round(void)
{
    al_tls_records records = {0};
    size_t size = make_stream();
    size_t step = (size_t[]){1, 7, 100, 5000}[random_below(4)];
    size_t done = 0;

    while (done < size) {
        size_t n = 1 + random_below(step);
        n = n < size - done ? n : size - done;
        /* A block of its own, so that a read beyond its end is found. */
        unsigned char *piece = malloc(n);
        CHECK(piece != NULL);
        memcpy(piece, stream + done, n);
        al_tls_records_feed(&records, piece, n);
        al_tls_records_check(&records);
        free(piece);
        done += n;

        long partial = parse(done);
        CHECK(records.is_unknown == (partial < 0));
        if (partial >= 0) {
            CHECK(records.partial == (size_t)partial);
        }
        /* OpenSSL may have taken any part of the stream out of the BIO. */
        size_t pending = random_below(done + 1);
        size_t complete = al_tls_records_complete(&records, pending);
        if (partial < 0) {
            CHECK(complete == pending);
        }
        else if (pending <= (size_t)partial) {
            CHECK(complete == 0);
        }
        else {
            CHECK(complete == pending - (size_t)partial);
        }
    }
}

int
main(void)
{
    for (uint64_t round = 0; round < ROUNDS; round++) {
        check_begin(round);
        run_round();
    }
    return 0;
}
