"""`make chaos`: faults for a quarter of an hour. The same seed gives the same faults in the same order."""

import argparse
import random
import sys
import time

from tests.chaos import invariants
from tests.chaos.faults import FAULTS
from tests.chaos.site import Site, site, wait


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--only", help="names of faults, with commas between them")
    asked = parser.parse_args()
    faults = [fault for fault in FAULTS if not asked.only or fault.__name__ in asked.only.split(",")]
    print(f"seed {asked.seed}, {asked.minutes:g} minutes", flush=True)
    with site() as made:
        return _run(made, faults, random.Random(asked.seed), time.monotonic() + 60 * asked.minutes)


def _run(made: Site, faults: list, pick: random.Random, until: float) -> int:
    watch = invariants.Watch(made)
    watch.start()
    rounds = 0
    try:
        while time.monotonic() < until:
            began = time.monotonic()
            what = pick.choice(faults)(made, pick)
            after = time.monotonic()
            wait(lambda: not invariants.unsettled(made), invariants.SETTLE_SECONDS, f"all to be quiet after: {what}")
            rounds += 1
            wrong = [*invariants.broken(made), *watch.found]
            print(f"{rounds}. {what}: {after - began:.0f} s, quiet {time.monotonic() - after:.0f} s later", flush=True)
            if wrong:
                print("BROKEN: " + "; ".join(wrong), flush=True)
                return 1
    except AssertionError as error:
        print(f"BROKEN: {error}: {invariants.unsettled(made)}; {'; '.join(watch.found)}", flush=True)
        print(made.stack.log())
        return 1
    finally:
        watch.end()
    print(f"{rounds} faults, and everything holds", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
