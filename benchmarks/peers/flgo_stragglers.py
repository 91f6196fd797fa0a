"""FLGo's side of `latecomer bench stragglers`: its FedBuff and FedAsync, in its own environment.

Usage: a pickled `latecomer_bench.clients.Job` on stdin; prints one JSON object: FLGo's version and,
per algorithm, settings and run.

All of it is FLGo's: `flgo.init`, the server's loop, sampling, staleness weights, aggregation and
the clock. Ours are the client's `train` and a `Simulator` that tells FLGo when our devices are
online and how long each takes. FLGo's clock counts in whole units; one is a tenth of a second, and
what arrives in between is seen with the next. Devices train on while they are offline and hand in
when they are back, which FLGo knows no state for: it is part of the latency.

FedAsync's proximal term is a term of the client's loss, and the client is ours: there is none.
"""

import json
import logging
import pickle
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import flgo
import torch
from flgo.algorithm import fedasync, fedbuff
from flgo.benchmark.base import BasicTaskCalculator, BasicTaskPipe
from flgo.experiment.logger import BasicLogger
from flgo.simulator.base import BasicSimulator
from flgo.utils.fmodule import FModule

from latecomer.tensors import Array
from latecomer_bench.clients import Client, Job, Judge

UNITS_PER_S = 10

#: What FLGo imports to learn what a task's data are; they stay with our clients.
TASK = "latecomer_task"

#: Torch allows no dot in a parameter's name.
DOT = "|"

#: No run lasts so many versions.
ROUNDS = 1_000_000

ALGORITHMS = {"fedbuff": fedbuff, "fedasync": fedasync}


@dataclass(frozen=True)
class Settings:
    """Of one run; ``rate`` is eta of FedBuff and alpha of FedAsync.

    Attributes:
        k: Updates per version.
        concurrency: Devices that train at once.
    """

    algorithm: str
    k: int
    concurrency: int
    rate: float


#: Eight settings were tried of FedBuff at twenty and at forty devices at once, with seeds 11 to 15,
#: and six of FedAsync, with seeds 11 and 12. These took the least time on average: 140 s, 98 s and
#: 1,496 s; of equal ones the lowest rate. An alpha above 1 is outside of FedAsync's paper, and FLGo
#: takes it; 0.9 took 1,659 s.
CHOSEN = (
    Settings("fedbuff", 3, 20, 12.0),
    Settings("fedasync", 1, 20, 3.0),
    Settings("fedbuff", 3, 40, 9.0),
)
SWEEP = (
    *(Settings("fedbuff", 3, 20, rate) for rate in (4.5, 9.0, 18.0, 24.0)),
    *(Settings("fedbuff", 5, 20, rate) for rate in (9.0, 18.0)),
    Settings("fedbuff", 10, 20, 18.0),
    *(Settings("fedbuff", 3, 40, rate) for rate in (12.0, 18.0, 24.0)),
    *(Settings("fedbuff", 5, 40, rate) for rate in (9.0, 18.0)),
    *(Settings("fedbuff", 10, 40, rate) for rate in (18.0, 36.0)),
    *(Settings("fedasync", 1, 20, rate) for rate in (0.6, 0.9, 1.5, 2.0, 6.0)),
)


def run(job: Job, settings: Settings) -> dict[str, Any]:
    """One run; FLGo draws whom it samples from the job's seed."""
    clients = job.clients()
    judge = Judge(job, clients)
    task = ModuleType(f"{TASK}.core")
    vars(task).update(TaskPipe=_pipe(clients), TaskCalculator=BasicTaskCalculator)
    sys.modules.update({TASK: ModuleType(TASK), task.__name__: task})
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "info").write_text(json.dumps({"benchmark": TASK}), encoding="utf-8")
        server = flgo.init(
            folder,
            _algorithm(ALGORITHMS[settings.algorithm]),
            option=_option(job, settings, len(clients)),
            model=_model(job.initial()),
            Logger=_logger(judge),
            Simulator=DeviceSimulator,
        )
    server.register_exit_condition(
        lambda server: judge.reached_s is not None or server.received >= job.updates
    )
    server.run()
    return judge.result(
        server.gv.clock.current_time / UNITS_PER_S,
        server.received,
        staleness=server.behind / max(1, server.received),
    )


def _option(job: Job, settings: Settings, count: int) -> dict[str, Any]:
    # FLGo takes shares and rounds down; half a device more makes K and concurrency come out.
    share = (settings.k + 0.5) / count
    ours = [share, settings.rate] if settings.algorithm == "fedbuff" else [settings.rate]
    return {
        "algo_para": ours,
        "proportion": (settings.concurrency + 0.5) / count,
        "sample": "uniform_available",
        "num_rounds": ROUNDS,
        "eval_interval": max(1, job.evaluated_every // settings.k),
        "seed": job.seed,
        "num_steps": 1,
        "no_log_console": True,
        "no_tqdm": True,
    }


def _algorithm(module: Any) -> SimpleNamespace:
    """FLGo's algorithm with our training; new classes each time, because FLGo decorates them."""

    class Server(module.Server):  # type: ignore[misc]
        received = behind = 0

        def package_handler(self, received_packages: dict[str, Any]) -> bool:
            models = received_packages["model"]
            self.received += len(models)
            self.behind += sum(self.current_round - each._round for each in models)  # noqa: SLF001
            return bool(super().package_handler(received_packages))

    class OurClient(module.Client):  # type: ignore[misc]
        device: Client

        def train(self, model: FModule) -> None:
            now_s = self.gv.clock.current_time / UNITS_PER_S
            answer = self.device.train(arrays(model), now_s)
            self.latency = (answer.arrives_s - now_s) * UNITS_PER_S
            load(model, answer.model)

    return SimpleNamespace(__name__=module.__name__, Server=Server, Client=OurClient)


def _pipe(devices: list[Client]) -> type[BasicTaskPipe]:
    class Pipe(BasicTaskPipe):  # type: ignore[misc]
        """A task whose data are with our clients."""

        def __init__(self, task_path: str) -> None:
            super().__init__(task_path)
            self.feddata = {"client_names": [str(number) for number in range(len(devices))]}

        def load_data(self, _option: dict[str, Any]) -> dict[str, Any]:
            return {}

        def distribute(self, _data: dict[str, Any], objects: list[Any]) -> None:
            for client, device in zip(objects[1:], devices, strict=True):
                client.device = device
                client.datavol = device.site.split.train.size

    return Pipe


class DeviceSimulator(BasicSimulator):  # type: ignore[misc]
    """FLGo's client state machine, with our devices' windows and times."""

    def __init__(self, objects: list[Any], _option: dict[str, Any]) -> None:
        super().__init__(objects)

    def update_client_availability(self) -> None:
        """See `BasicSimulator`; what it calls a probability is 0 or 1 here."""
        now_s = (self.gv.clock.current_time + self.flushing_time) / UNITS_PER_S
        online = [float(self.clients[each].device.online(now_s)) for each in self.all_clients]
        self.set_variable(self.all_clients, "prob_available", online)
        # FLGo compares with `<=`, and a draw may be 0.
        self.set_variable(
            self.all_clients, "prob_unavailable", [-1.0 if on else 1.0 for on in online]
        )

    def update_client_responsiveness(self, client_ids: list[int]) -> None:
        """See `BasicSimulator`; called when the answer is known."""
        self.set_variable(
            client_ids, "latency", [self.clients[each].latency for each in client_ids]
        )


def _logger(judge: Judge) -> type[BasicLogger]:
    class JudgingLogger(BasicLogger):  # type: ignore[misc]
        """Evaluates where FLGo would."""

        def log_once(self) -> None:
            judge.look(arrays(self.coordinator.model), self.clock.current_time / UNITS_PER_S)

        def save_output_as_json(self) -> None:
            pass

    return JudgingLogger


def _model(initial: Mapping[str, Array]) -> SimpleNamespace:
    class Model(FModule):  # type: ignore[misc]
        """Our tensors; FLGo makes models without arguments."""

        def __init__(self) -> None:
            super().__init__()
            for name, array in initial.items():
                self.register_parameter(
                    name.replace(".", DOT), torch.nn.Parameter(torch.tensor(array))
                )

    def init_global_module(party: Any) -> None:
        if hasattr(party, "clients"):
            party.model = Model()

    return SimpleNamespace(__name__="latecomer", init_global_module=init_global_module)


def arrays(model: FModule) -> dict[str, Array]:
    """Copies of a model's tensors."""
    return {
        name.replace(DOT, "."): each.detach().numpy().copy()
        for name, each in model.named_parameters()
    }


def load(model: FModule, state: Mapping[str, Array]) -> None:
    """Put tensors into a model, in place."""
    with torch.no_grad():
        for name, each in model.named_parameters():
            each.copy_(torch.from_numpy(state[name.replace(DOT, ".")]))


def _told(settings: Settings) -> dict[str, Any]:
    """All but the algorithm, which is in the peer's name."""
    return {name: value for name, value in asdict(settings).items() if name != "algorithm"}


def main() -> None:
    """See the module."""
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    job: Job = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    settings = (*CHOSEN, *SWEEP) if job.sweep else CHOSEN
    runs = [
        {
            "peer": f"flgo-{each.algorithm}",
            "at_once": each.concurrency,
            "settings": _told(each),
            **run(job, each),
        }
        for each in settings
    ]
    sys.stdout.write(json.dumps({"version": version("flgo"), "runs": runs}) + "\n")


if __name__ == "__main__":
    main()
