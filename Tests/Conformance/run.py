"""Lets Autobahn's fuzzing client loose on the echo server that stands on our WebSocketTransport, and judges its report.

    run.py WSTEST ECHO CASES COUNT      cases as Autobahn names them ("*", "1.*,2.*"), and how many they have to be

Passes when every case behaved OK, or INFORMATIONAL, or as the tables below allow; says the numbers of all others.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

# Invalid UTF-8 within a message: refused at the end of the message, and not at its first wrong fragment.
NON_STRICT = {"6.4.1", "6.4.2", "6.4.3", "6.4.4"}
AGENT = "jobfeed"


def verdict(number, case):
    """OK, or another name to list the case under; names in capitals are no failure."""
    behavior, closing = case["behavior"], case["behaviorClose"]
    if behavior == "NON-STRICT" and number in NON_STRICT and closing in ("OK", "INFORMATIONAL"):
        return "NON-STRICT"
    if behavior in ("OK", "INFORMATIONAL") and closing in ("OK", "INFORMATIONAL"):
        return behavior
    return f"failed ({behavior.lower()}, close {closing.lower()})"


def report(cases, count):
    """Prints what the report says; whether it is good."""
    by_verdict = {}
    for number, case in sorted(cases.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        by_verdict.setdefault(verdict(number, case), []).append(number)
    for name, numbers in sorted(by_verdict.items()):
        listed = "" if name == "OK" else ": " + " ".join(numbers)
        print(f"{len(numbers):5} {name}{listed}")
    good = all(name.isupper() for name in by_verdict)
    if len(cases) != count:
        print(f"{len(cases)} cases were run instead of {count}")
    return good and len(cases) == count


def main(wstest, echo, cases, count):
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jobfeed-conformance-") as directory:
        directory = pathlib.Path(directory)
        server = subprocess.Popen([echo], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            port = int(server.stdout.readline())
            spec = directory / "spec.json"
            spec.write_text(json.dumps({
                "outdir": str(directory / "report"), "cases": cases.split(","), "exclude-cases": [],
                "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{port}"}]}))
            with open(directory / "log", "w+") as log:
                done = subprocess.run([wstest, "-m", "fuzzingclient", "-s", str(spec)], stdout=log, stderr=log)
                index = directory / "report" / "index.json"
                if done.returncode or not index.exists():
                    log.seek(0)
                    sys.exit(log.read()[-3000:] + f"\nwstest ended with {done.returncode}")
            if server.poll() is not None:
                sys.exit(f"the echo server died with {server.returncode}")
            good = report(json.loads(index.read_text())[AGENT], int(count))
        finally:
            server.stdin.close()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
    print(f"Autobahn: {'passed' if good else 'FAILED'} in {time.monotonic() - started:.0f} s")
    sys.exit(not good)


if __name__ == "__main__":
    main(*sys.argv[1:])
