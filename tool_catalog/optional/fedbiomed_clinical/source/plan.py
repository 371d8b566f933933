"""Fed-BioMed's training plan, which a host approves by its hash: what follows is sent, and run where it is the same."""

from __future__ import annotations

from typing import Any

from fedbiomed.common.training_plans import FedSGDRegressor


class SitePlan(FedSGDRegressor):  # type: ignore[misc]  # Fed-BioMed has no types
    """scikit-learn's least squares by stochastic gradient steps, over the rows that a host has prepared."""

    def init_dependencies(self) -> list[str]:
        return [
            "from pathlib import Path",
            "from typing import Any",
            "import numpy as np",
            "from fedbiomed.common.dataset import CustomDataset",
            "from fedbiomed.common.datamanager import DataManager",
            "from fedbiomed.common.training_plans import FedSGDRegressor",
        ]

    def training_data(self) -> Any:
        class Rows(CustomDataset):  # noqa: F821  # the lines above import it
            def read(self):
                self.rows = np.load(Path(self.path) / "rows.npy", allow_pickle=False)  # noqa: F821

            def get_item(self, index):
                return self.rows[index, :-1], self.rows[index, -1:]

            def __len__(self):
                return len(self.rows)

        return DataManager(dataset=Rows(), shuffle=True)  # noqa: F821
