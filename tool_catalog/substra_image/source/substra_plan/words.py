"""What both ends of the connection know: tasks that need data, and what the tools say that they run on."""

TRAIN = "train"
TEST = "evaluate"
PLATFORM = "Substra's SDK 1.0.0 (substra, substrafl, substratools) on this infrastructure, not a Substra network"
