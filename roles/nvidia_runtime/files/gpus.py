"""What NVIDIA hardware this machine has, and what its driver says of it, as JSON."""

import ctypes
import json
from pathlib import Path

NVIDIA, DISPLAYS = "0x10de", "0x03"


def cards():
    """How many NVIDIA GPUs are on the bus, with or without a driver."""
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    found = [path.with_name("class") for path in vendors if path.read_text().strip() == NVIDIA]
    return sum(kind.read_text().startswith(DISPLAYS) for kind in found)


def driver():
    """Driver and number of GPUs by NVML, or why it does not say."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        return {"error": str(error)}
    if code := nvml.nvmlInit_v2():
        return {"error": f"nvmlInit says {code}"}
    version, count = ctypes.create_string_buffer(80), ctypes.c_uint()
    code = nvml.nvmlSystemGetDriverVersion(version, 80) or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    nvml.nvmlShutdown()
    return {"error": f"NVML says {code}"} if code else {"driver": version.value.decode(), "gpus": count.value}


print(json.dumps({"cards": cards(), "driver": "", "gpus": 0, "error": "", **driver()}))
