"""What runs a Space: stages that move on by one with each look, settings, logs."""

from dataclasses import dataclass, field
from typing import Any

DEFAULT_STAGES = ("BUILDING", "APP_STARTING", "RUNNING")
_WITHOUT_MACHINE = ("BUILDING", "NO_APP_FILE", "CONFIG_ERROR", "BUILD_ERROR", "PAUSED")


@dataclass
class SpaceRecord:
    """A Space's machine, settings and script."""

    hardware: str = "cpu-basic"
    """As requested last."""
    sleep_time_s: int | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    notes: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """Description and time of change of each setting, by ("secrets" or "variables", name)."""
    stages: tuple[str, ...] = ()
    """Script; the last one stays. Empty: as a Space that builds and starts."""
    looks: int = 0
    """How often its state was asked for since it was last started."""
    restarts: int = 0
    paused: bool = False
    build_log: str = ""
    run_log: str = ""
    error_message: str = ""

    def start(self) -> None:
        """Begin the script anew: after a commit, a restart, a change of hardware."""
        self.looks = 0
        self.paused = False

    def stage(self, has_app: bool) -> str:
        if self.paused:
            return "PAUSED"
        if not self.stages and not has_app:
            return "NO_APP_FILE"
        stages = self.stages or DEFAULT_STAGES
        return stages[min(self.looks, len(stages) - 1)]

    def runtime(self, repo_id: str, has_app: bool) -> dict[str, Any]:
        """What the Hub answers when asked for the state."""
        stage = self.stage(has_app)
        machine = None if stage in _WITHOUT_MACHINE else self.hardware
        domain = repo_id.replace("/", "-").replace("_", "-").lower()
        runtime: dict[str, Any] = {
            "stage": stage,
            "hardware": {"current": machine, "requested": self.hardware},
            "storage": None,
            "gcTimeout": self.sleep_time_s or 172800,
            "replicas": {"current": int(machine is not None), "requested": 1},
            "devMode": False,
            "domains": [{"domain": f"{domain}.hf.space", "stage": "READY"}],
        }
        if self.error_message and stage.endswith("ERROR"):
            runtime["errorMessage"] = self.error_message
        return runtime
