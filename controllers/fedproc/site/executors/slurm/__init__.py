"""The Slurm executor: the sandbox inside an allocation, by ``sbatch``, ``squeue``, ``scontrol`` and ``scancel``."""
