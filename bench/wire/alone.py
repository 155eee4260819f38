"""A grid without a server, on a bare engine or on a Studio: `python -m salon.bench.wire.alone engine THREADS`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ... import __version__
from ...engine.engine import Engine
from ...studio.service.mosaic import mosaic
from ...studio.service.pictures import files_of, store_files
from ...studio.service.recipe import recipe_of
from ...studio.service.recipe_files import encode_png
from ...studio.store.folder_blobs import FolderBlobs
from ...studio.studio import Studio
from ..answers import serve

WAIT_S = 60.0


class Alone:
    """Makes grids in this process (or, a Studio's, in its worker's)."""

    def __init__(self, what: str, threads: int) -> None:
        self.engine = Engine.load(threads=threads) if what == "engine" else None
        self.studio = Studio(threads=threads, process=True) if what == "studio" else None
        self.folder = tempfile.TemporaryDirectory()
        self.blobs = FolderBlobs(Path(self.folder.name))

    def grid(self, prompt: str, steps: int, seed: int) -> dict[str, Any]:
        """Return the milliseconds until the pixels of four pictures are there, and until their PNG files are on disk.

        The files are those that the server makes, with the grid.
        """
        start = time.perf_counter()
        if self.studio is not None:
            job = self.studio.imagine(prompt, steps=steps, seed=seed, images=4)
            pixels = job.result(WAIT_S)
            done = time.perf_counter()
            store_files(self.blobs, job.id, files_of(self.studio.loop.model, job, pixels, __version__))
        else:
            engine = self.engine
            assert engine is not None
            generation = engine.open(engine.make_spec(prompt, steps=steps, seed=seed, images=4))
            while generation.state == "running":
                engine.step([generation])
            pixels = engine.finish(generation)
            done = time.perf_counter()
            for index, shot in (*enumerate(pixels), (None, mosaic(pixels))):
                recipe = recipe_of(engine.info, generation.spec, generation, index, shot, __version__)
                self.blobs.put(encode_png(shot, recipe))
            engine.close(generation)
        return {"done_ms": 1e3 * (done - start), "file_ms": 1e3 * (time.perf_counter() - start)}


if __name__ == "__main__":
    serve(Alone(sys.argv[1], int(sys.argv[2])))
