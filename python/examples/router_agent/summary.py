"""The summary, for people and for the comparison of two runs."""

from dataclasses import dataclass

from .agent import TRIES, Counts


@dataclass
class Summary:
    """What a run came to. *stopped* is whether it was stopped before the feed was done."""

    counts: Counts
    bad_lines: int
    routers: int
    workers: int
    took: float
    stopped: bool

    def __str__(self):
        counts = self.counts
        how = "stopped after" if self.stopped else "done in"
        lines = [
            f"Router agent: {how} {self.took:.1f} s",
            f"  {counts.received:>6} updates for {self.routers} routers, {self.workers} workers",
            f"  {counts.applied:>6} applied, {counts.applied / max(self.took, 0.001):.0f} a second",
            f"  {counts.merged:>6} merged with the same update that was still waiting",
            f"  {counts.retried:>6} retries",
            f"  {len(counts.given_up):>6} given up after {TRIES} tries{self.examples()}",
        ]
        if self.stopped:
            lines.append(f"  {counts.received - counts.ended:>6} not begun or not finished")
        lines.append(f"  {self.bad_lines:>6} bad lines skipped")
        deepest, when = counts.deepest
        lines.append(f"  {deepest:>6} waited when the queue was deepest, at {when:.1f} s")
        if counts.slowest:
            router, took = counts.slowest
            lines.append(f"  {router:>6} was the slowest router: {took:.2f} s from an update's arrival to its end")
        else:
            lines.append("    none was the slowest router: nothing was applied")
        return "\n".join(lines)

    def examples(self):
        examples = [
            f"{job.update.router} {job.update.change} (line {job.line}, {job.problem})"
            for job in self.counts.given_up[:3]
        ]
        if len(self.counts.given_up) > len(examples):
            examples.append("...")
        return ": " + ", ".join(examples) if examples else ""

    def figures(self):
        """What two runs on the same feed are compared by."""
        counts = self.counts
        return {
            "updates": counts.received,
            "applied": counts.applied,
            "merged": counts.merged,
            "retries": counts.retried,
            "given up": len(counts.given_up),
            "bad lines": self.bad_lines,
            "seconds": round(self.took, 2),
        }
