"""NVFlare's side of `latecomer bench fold`: `BuffModelManager`, in its own environment.

Usage: nvflare_fold.py SEED K REPEATS WORK PARAMS… prints one JSON object. It gets decoded arrays
(no decoding, no validation), and steps once per K updates, as it does in production. A repeat takes
at least WORK multiply-adds; the fastest of REPEATS counts.

It makes Python lists of each new model, for its own serialisation, which takes most of the time.
`arrays_per_s` is the same without that.
"""

import json
import logging
import sys
import time
from typing import Any

import numpy as np
import nvflare
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_context import FLContext
from nvflare.edge.assessors.buff_model_manager import BuffModelManager
from nvflare.edge.mud import ModelUpdate


class StaysAnArray(np.ndarray):
    """And so does what is computed from it, the new model included."""

    def tolist(self) -> Any:
        """Itself."""
        return self


def best_of(repeats: int, *measured: int, kind: type[np.ndarray]) -> float:
    """Updates per second of the fastest repeat."""
    return max(measure(*measured, kind=kind) for _ in range(repeats))


def measure(seed: int, k: int, versions: int, params: int, *, kind: type[np.ndarray]) -> float:
    """Updates per second, from accepting the first to the last new model."""
    rng = np.random.default_rng(seed)
    deltas = [rng.standard_normal(params, dtype=np.float32).view(kind) for _ in range(k)]
    context = FLContext()
    manager = BuffModelManager(k, max_model_history=4, staleness_weight=True)
    start = {"net": np.zeros(params, np.float32)}
    manager.initialize_model(DXO(DataKind.WEIGHTS, data=start), context)
    manager.generate_new_model(context)
    began = time.process_time()
    for _ in range(versions):
        for number, delta in enumerate(deltas):
            version = manager.current_model_version
            manager.process_updates({version: update(version, number, delta)}, context)
    took_s = time.process_time() - began
    if manager.current_model_version != 1 + versions:
        raise RuntimeError(f"{manager.current_model_version} versions, expected {1 + versions}")
    return versions * k / took_s


def update(version: int, number: int, delta: Any) -> ModelUpdate:
    """As it arrives from a device."""
    dxo = DXO(DataKind.WEIGHT_DIFF, data={"dict": {"net": delta}, "count": 1})
    return ModelUpdate(version, dxo.to_shareable(), {f"device-{number}": time.time()})


def main() -> None:
    """See the module."""
    logging.disable(logging.CRITICAL)
    seed, k, repeats, work, *sizes = (int(each) for each in sys.argv[1:])
    found = {
        name: {
            params: best_of(repeats, seed, k, max(1, work // (params * k)), params, kind=kind)
            for params in sizes
        }
        for name, kind in (("updates_per_s", np.ndarray), ("arrays_per_s", StaysAnArray))
    }
    sys.stdout.write(json.dumps({"nvflare": nvflare.__version__, **found}) + "\n")


if __name__ == "__main__":
    main()
