import Glibc

/// What the processes under measurement have used.
struct ServerProcesses {
    private let clocks: [clockid_t]
    private let pids: [Int32]

    init(pids: [Int32]) {
        self.pids = pids
        self.clocks = pids.compactMap { pid in
            var clock = clockid_t()
            return clock_getcpuclockid(pid, &clock) == 0 ? clock : nil
        }
    }

    /// User and system time of all their threads in seconds; the sum of `utime` and `stime` in `/proc`, but not in ticks.
    func cpuSeconds() -> Double { self.clocks.reduce(0) { $0 + Self.seconds($1) } }

    static func ownCPUSeconds() -> Double { self.seconds(CLOCK_PROCESS_CPUTIME_ID) }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        guard clock_gettime(clock, &time) == 0 else { return 0 }
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Resident memory in KB.
    func residentKilobytes() -> Int { self.pids.reduce(0) { $0 + Self.resident($1) } }

    private static func resident(_ pid: Int32) -> Int {
        guard let file = fopen("/proc/\(pid)/statm", "r") else { return 0 }
        defer { fclose(file) }
        var text = [CChar](repeating: 0, count: 256)
        guard fgets(&text, Int32(text.count), file) != nil else { return 0 }
        let words = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let pages = words.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        return pages * sysconf(Int32(_SC_PAGESIZE)) / 1024
    }
}
