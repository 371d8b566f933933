"""Fed-BioMed's training plan, which a host approves by its hash: what follows is sent, and run where it is the same."""

from typing import Any

import torch
from fedbiomed.common.datamanager import DataManager
from fedbiomed.common.training_plans import TorchTrainingPlan


class ImagePlan(TorchTrainingPlan):  # type: ignore[misc]  # Fed-BioMed has no types
    """The demonstrator's network (EUCAIM/demo_dl_data) over the patches that a host has prepared, by Adam."""

    def init_dependencies(self) -> list[str]:
        return [
            "from pathlib import Path",
            "from typing import Any",
            "import numpy as np",
            "import torch",
            "from fedbiomed.common.dataset import CustomDataset",
            "from fedbiomed.common.datamanager import DataManager",
            "from fedbiomed.common.training_plans import TorchTrainingPlan",
        ]

    def init_model(self, model_args: dict[str, Any]) -> Any:
        inputs = 32 * (model_args["size"] // 2) ** 2
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 12, 3, padding=1),
            torch.nn.BatchNorm2d(12),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(12, 20, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(20, 32, 3, padding=1),
            torch.nn.BatchNorm2d(32),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(inputs, 2),
        )

    def init_optimizer(self, optimizer_args: dict[str, Any]) -> Any:
        return torch.optim.Adam(self.model().parameters(), lr=optimizer_args["lr"])

    def training_data(self) -> Any:
        class Patches(CustomDataset):  # noqa: F821  # the lines above import it
            def read(self):
                self.images = np.load(Path(self.path) / "images.npy", allow_pickle=False)  # noqa: F821
                self.labels = np.load(Path(self.path) / "labels.npy", allow_pickle=False)  # noqa: F821

            def get_item(self, index):
                return torch.from_numpy(self.images[index]), torch.tensor(self.labels[index])

            def __len__(self):
                return len(self.labels)

        return DataManager(dataset=Patches(), shuffle=True)

    def training_step(self, data: Any, target: Any) -> Any:
        return torch.nn.functional.cross_entropy(self.model()(data), target)
