"""Copies the project to another directory with faults built in, each of which JOBFEED_MUTATION=NAME switches on.

    mutants.py DIRECTORY

Each fault is one that a known system has. The strings to replace stand here as they are in the sources, so that the copy
fails loudly when the sources have changed.
"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]

SWITCH = """#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

package enum Mutation {
    private static let name = getenv("JOBFEED_MUTATION").map { String(cString: $0) }

    package static func isOn(_ name: String) -> Bool { self.name == name }

    /// Sees the transaction that comes next as well.
    package static func shifted(_ snapshot: Snapshot) -> Snapshot {
        guard self.isOn("resume-off-by-one") else { return snapshot }
        let later = Snapshot(xmin: snapshot.xmin, xmax: snapshot.xmax + 1, inProgress: snapshot.inProgress)
        return later ?? snapshot
    }
}
"""

ROWS = """
extension LogReader {
    fileprivate static func rows(_ filter: String) -> String {
        if Mutation.isOn("bare-seq") {
            return \"\"\"
                SELECT * FROM jobfeed.change WHERE seq > (
                    SELECT coalesce(max(seq), 0) FROM jobfeed.change
                    WHERE pg_visible_in_snapshot(xid, $1::pg_snapshot))\\(filter)
                \"\"\"
        }
        if Mutation.isOn("xmin-horizon") {
            return \"\"\"
                SELECT * FROM jobfeed.change WHERE xid >= pg_snapshot_xmin($1::pg_snapshot)
                AND xid < pg_snapshot_xmin(pg_current_snapshot())\\(filter)
                \"\"\"
        }
        return \"\"\"
            SELECT * FROM jobfeed.change WHERE xid >= pg_snapshot_xmax($1::pg_snapshot)\\(filter)
            UNION ALL
            SELECT * FROM jobfeed.change
            WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot)))\\(filter)
            \"\"\"
    }
}
"""

# file: [(what stands there, what shall)]
FAULTS = {
    "Sources/Gateway/Reader/LogReader.swift": [
        ("""        SELECT * FROM jobfeed.change WHERE xid >= pg_snapshot_xmax($1::pg_snapshot)\\(filter)
        UNION ALL
        SELECT * FROM jobfeed.change WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot)))\\(filter)
""", """        \\(self.rows(filter))
"""),
        (None, ROWS),
    ],
    "Sources/Feed/View.swift": [
        ("""            let columns = self.changedColumns(of: change)
            return columns.allSatisfy""", """            let columns = self.changedColumns(of: change)
            if Mutation.isOn("mask-after-diff") { return .update(columns: columns) }
            return columns.allSatisfy"""),
    ],
    "Sources/Feed/OwnerTable.swift": [
        ("""        guard let ownerColumn else { return nil }
""", """        guard let ownerColumn else { return nil }
        if Mutation.isOn("owner-at-write"), let written = row("__owner") { return written.scalarText.map { ByteText($0) } }
"""),
    ],
    "Sources/Gateway/Session/LogReading.swift": [
        ("""self.batch.steps(of: view, notIn: since.snapshot)""",
         """self.batch.steps(of: view, notIn: Mutation.shifted(since.snapshot))"""),
    ],
    "Sources/Gateway/Hub/ReplayRing.swift": [
        ("""$0.steps(of: view, notIn: cursor.snapshot)""",
         """$0.steps(of: view, notIn: Mutation.shifted(cursor.snapshot))"""),
    ],
}

CAPTURE = "do $$ begin execute replace(pg_get_functiondef('jobfeed.{}'::regproc), {}, {}); end $$"
OWNER = "jsonb_build_object(''__owner'', (select t.author from public.thread t where t.id = {}.assigned_to))"
# name: what else has to be done in the database.
MUTATIONS = {
    "none": None,
    "bare-seq": None,
    "xmin-horizon": None,
    "owner-at-write": CAPTURE.format(
        "capture", "'row_after := to_jsonb(new);'", f"'row_after := to_jsonb(new) || {OWNER.format('new')};'")
    + "; " + CAPTURE.format(
        "capture_of_jobs", "'to_jsonb(n.*) as row,'", f"'to_jsonb(n.*) || {OWNER.format('n')} as row,'"),
    "mask-after-diff": None,
    "no-before": CAPTURE.format(
        "capture_of_jobs", "'else c.row end, c.before'", "'else c.row end, ''{}''::jsonb'"),
    "resume-off-by-one": None,
}


def mutate(path, text):
    for old, new in FAULTS.get(path, []):
        if old is None:
            text += new
        elif text.count(old) == 1:
            text = text.replace(old, new)
        else:
            sys.exit(f"{path} has changed; mutants.py looks for this, which is there {text.count(old)} times:\n{old}")
    return text


def main(directory):
    names = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True).splitlines()
    files = {name: mutate(name, (ROOT / name).read_text()).encode() if name in FAULTS else (ROOT / name).read_bytes()
             for name in names if (ROOT / name).is_file()}
    files["Sources/Feed/Mutation.swift"] = SWITCH.encode()
    for old in pathlib.Path(directory, "Sources").rglob("*"):
        if old.is_file() and str(old.relative_to(directory)) not in files:
            old.unlink()
    for name, content in files.items():
        target = pathlib.Path(directory, name)
        # What is as it was keeps its time, and is not built again.
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1])
