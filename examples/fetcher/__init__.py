"""The program behind fetch.py, in the order to read it.

             site.py (a process)                     parse.py (processes)
                 |  HTTP                                 ^  |
                 v                                       |  v
    app.py --> download.py ----- batches of pages ----> job.py --> store.py (threads)
       |
       `-----> compare.py: the same in fresh processes, one loop after the other

app.py       the command line, and what the reader sees
job.py       the whole job on one loop: fetch, parse, store
download.py  one page, with a bounded number of requests at a time, retries and backoff
parse.py     title, links and words of a page: CPU-bound, so it runs in a process pool
store.py     SQLite and files: blocking, so it runs in threads
site.py      the web site that is fetched
children.py  how processes are started
compare.py   the same program under every loop that is installed
"""
