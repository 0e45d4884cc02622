"""What Slurm and the tasks themselves say of a run: check_slurm.py PROJECT WORK KILLED_JOB..., in its launch folder."""

import re
import sys
from pathlib import Path

import pandas as pd

project, work, killed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
failures = 0


def check(what: str, truth: bool) -> None:
    """Print the outcome of one check and count failures."""
    global failures
    print(f"{'ok    ' if truth else 'FAILED'}  {what}")
    failures += not truth


wants = {
    re.search(r"process (\w+)", text)[1]  # type: ignore[index]
    for text in (path.read_text() for path in project.glob("modules/*/*.nf"))
    if "label 'gpu'" in text
}
jobs: dict[str, dict[str, str]] = {}
for line in Path("jobs.txt").read_text().splitlines():
    job = dict(re.findall(r"(\S+?)=(\S*)", line))
    jobs[f"{job['ArrayJobId']}_{job['ArrayTaskId']}" if "ArrayJobId" in job else job["JobId"]] = job

tasks = pd.read_csv("results/pipeline_info/trace.tsv", sep="\t", dtype={"native_id": str, "exit": str})
tasks["process"] = tasks["process"].str.split(":").str[-1]
tasks["folder"] = [next(work.glob(f"{short}*")) for short in tasks["hash"]]
tasks["gpu"] = tasks["process"].isin(wants)
tasks["gres"] = ["gpu" in jobs[job].get("TresPerNode", "") for job in tasks["native_id"]]
tasks["devices"] = [(folder / ".devices").read_text().strip() for folder in tasks["folder"]]
attempts = tasks[tasks["process"] == "FINETUNE_MODEL"].sort_values("attempt")
log = (attempts["folder"].iloc[-1] / ".command.log").read_text()
continued = re.search(r"continuing after epoch \d+", log)

check("the report is there", Path("results/report/report.html").stat().st_size > 0)
check(f"{tasks['gpu'].sum()} of {len(tasks)} tasks are labelled gpu", 0 < tasks["gpu"].sum() < len(tasks))
check("they, and only they, got the GRES", bool((tasks["gres"] == tasks["gpu"]).all()))
check("they see the device", set(tasks.loc[tasks["gpu"], "devices"]) == {"0"})
check("no other task sees a device", set(tasks.loc[~tasks["gpu"], "devices"]) == {"none"})
check(
    f"{sum('ArrayJobId' in job for job in jobs.values())} tasks ran in array jobs",
    any("ArrayJobId" in job for job in jobs.values()),
)
check(
    f"jobs {', '.join(killed)} were killed, with exit status {', '.join(attempts['exit'].iloc[:-1])}",
    len(killed) == 2 and killed == list(attempts["native_id"].iloc[:-1]),
)
check(
    "their task alone was tried again, and completed",
    list(attempts["status"]) == ["FAILED", "FAILED", "COMPLETED"]
    and set(tasks.loc[tasks["attempt"] > 1, "process"]) == {"FINETUNE_MODEL"},
)
check(f"the last attempt's log: {continued[0] if continued else 'no word of continuing'}", continued is not None)
sys.exit(failures > 0)
