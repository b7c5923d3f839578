"""Writes routers.feed: the same every time. Run from this folder: python3 make_feed.py"""

import random

HEADER = """\
# Router updates, one a line, in the order in which they arrived:
#
#   ROUTER PRIORITY ACTION [ARGUMENT] [fails=N | fails=always]
#
# ROUTER    a name: letters, digits and dashes
# PRIORITY  high, normal or low
# ACTION    add- or remove-interface, set- or clear-gateway, add- or remove-floating-ip, sync or delete
# fails     how often the device refuses it before it goes through
#
# A few lines are broken on purpose; the agent names and skips them.
"""

ROUTERS, UPDATES = 320, 3200
BROKEN = {
    411: "r017 urgent set-gateway 203.0.113.9",
    902: "r044 normal",
    1500: "r1-0-1 normal reboot",
    2040: "r205 low add-interface 10.20.5.0/24 fails=often",
    2777: "r 300 normal sync",
}


def action(rng, number):
    kind = rng.choices(
        ["add-interface", "remove-interface", "set-gateway", "clear-gateway"]
        + ["add-floating-ip", "remove-floating-ip", "sync"],
        [30, 8, 12, 4, 25, 9, 12],
    )[0]
    if kind.endswith("interface"):
        return f"{kind} 10.{number % 250}.{rng.randrange(6)}.0/24"
    if kind.endswith("floating-ip"):
        return f"{kind} 198.51.100.{rng.randrange(1, 255)}"
    if kind == "set-gateway":
        return f"{kind} 203.0.113.{rng.randrange(1, 255)}"
    return kind


def main():
    rng = random.Random(2026)
    lines, recent = [], []
    for line in range(UPDATES):
        if line in BROKEN:
            lines.append(BROKEN[line])
        if recent and rng.random() < 0.08:
            lines.append(rng.choice(recent))  # the server sends the same change again
            continue
        # A few routers are busy, most are quiet.
        number = min(int(rng.expovariate(1 / 70)), ROUTERS - 1) if rng.random() < 0.5 else rng.randrange(ROUTERS)
        update = f"r{number:03} {rng.choices(['high', 'normal', 'low'], [15, 60, 25])[0]} {action(rng, number)}"
        luck = rng.random()
        if luck < 0.04:
            update += f" fails={rng.choice([1, 1, 1, 2, 3])}"
        elif luck < 0.047:
            update += " fails=always"
        lines.append(update)
        recent = (recent + [update])[-12:]
    with open("routers.feed", "w") as feed:
        feed.write(HEADER + "\n".join(lines) + "\n")


main()
