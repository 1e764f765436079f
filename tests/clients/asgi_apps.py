"""ASGI applications for the servers under test, which start them in processes of their own.

Each tells on what it runs: the package of the running loop's class, "asyncio" or "asyncloop".
"""

import asyncio
import contextlib


def loop_kind():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def make_starlette():
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute

    @contextlib.asynccontextmanager
    async def lifespan(app):
        ticker = asyncio.create_task(asyncio.Event().wait())
        yield {"started_on": loop_kind()}
        ticker.cancel()
        print("ended on", loop_kind(), flush=True)

    async def hello(request):
        name = await run_in_threadpool(request.path_params["name"].title)
        return JSONResponse({"loop": loop_kind(), "started_on": request.state.started_on, "hello": name})

    async def twice(request):
        chunks = [chunk async for chunk in request.stream()]

        async def answer():
            for chunk in chunks * 2:
                await asyncio.sleep(0)
                yield chunk

        return StreamingResponse(answer())

    async def talk(websocket):
        await websocket.accept()
        await websocket.send_text(loop_kind())
        async for text in websocket.iter_text():
            await websocket.send_text(text.upper())

    routes = [Route("/hello/{name}", hello), Route("/twice", twice, methods=["POST"]), WebSocketRoute("/talk", talk)]
    return Starlette(routes=routes, lifespan=lifespan)


def make_fastapi():
    import fastapi
    from pydantic import BaseModel

    class Item(BaseModel):
        name: str
        price: float

    app = fastapi.FastAPI()

    async def database():
        yield {"tax": 1.5, "loop": loop_kind()}  # a dependency that lives as long as its request

    Database = fastapi.Depends(database)

    @app.post("/items")
    async def create(item: Item, database=Database):
        return {"name": item.name, "total": item.price * database["tax"], "loop": database["loop"]}

    @app.get("/thread")
    def in_a_thread(n: int):
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            return "on the loop"
        return n + 1

    @app.websocket("/sums")
    async def sums(websocket: fastapi.WebSocket):
        await websocket.accept()
        with contextlib.suppress(fastapi.WebSocketDisconnect):
            while True:
                await websocket.send_json({"sum": sum(await websocket.receive_json()), "loop": loop_kind()})

    return app
