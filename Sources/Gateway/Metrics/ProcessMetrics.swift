import Foundation

/// What every Prometheus client says of its process, under the names that are the same everywhere.
struct ProcessMetrics: Sendable {
    private let cpu: PrometheusGauge
    private let resident: PrometheusGauge
    private let virtual: PrometheusGauge
    private let start: PrometheusGauge
    private let openFiles: PrometheusGauge
    private let maximumFiles: PrometheusGauge
    private let threads: PrometheusGauge

    init(_ r: PrometheusRegistry) {
        self.cpu = r.total("process_cpu_seconds_total", "User and system CPU time.")
        self.resident = r.gauge("process_resident_memory_bytes", "Resident memory.")
        self.virtual = r.gauge("process_virtual_memory_bytes", "Virtual memory.")
        self.start = r.gauge("process_start_time_seconds", "Start of the process, since 1970.")
        self.openFiles = r.gauge("process_open_fds", "Open file descriptors.")
        self.maximumFiles = r.gauge("process_max_fds", "File descriptors that the process may open.")
        self.threads = r.gauge("process_threads", "Threads.")
    }

    /// Reads them anew; on systems without /proc only the CPU time and the limit are known.
    func collect() {
        var usage = rusage()
        if getrusage(Self.whole, &usage) == 0 {
            self.cpu.set(Self.seconds(usage.ru_utime) + Self.seconds(usage.ru_stime))
        }
        var limit = rlimit()
        if getrlimit(Self.files, &limit) == 0 { self.maximumFiles.set(Double(limit.rlim_cur)) }
        if let stat = Self.text("/proc/self/stat").flatMap(ProcessStat.init) {
            let boot = Self.text("/proc/stat").flatMap(ProcessStat.bootTime)
            self.virtual.set(stat.virtualBytes)
            self.resident.set(stat.residentPages * Double(sysconf(Int32(_SC_PAGESIZE))))
            self.threads.set(stat.threads)
            if let boot { self.start.set(boot + stat.startTicks / Double(sysconf(Int32(_SC_CLK_TCK)))) }
        }
        if let directory = opendir("/proc/self/fd") {
            defer { closedir(directory) }
            // Besides ".", ".." and the one of this very directory.
            var count = -3
            while readdir(directory) != nil { count += 1 }
            self.openFiles.set(count)
        }
    }

    #if canImport(Glibc)
    private static let whole = RUSAGE_SELF.rawValue
    private static let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    #else
    private static let whole = RUSAGE_SELF
    private static let files = RLIMIT_NOFILE
    #endif

    private static func seconds(_ time: timeval) -> Double {
        Double(time.tv_sec) + Double(time.tv_usec) / 1e6
    }

    private static func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// The fields of /proc/self/stat that are of use; proc(5).
struct ProcessStat: Equatable {
    let threads: Double
    /// Since the system was started.
    let startTicks: Double
    let virtualBytes: Double
    let residentPages: Double

    init?(_ text: String) {
        // The second field is the name of the program in parentheses, which may hold blanks and parentheses.
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(whereSeparator: \.isWhitespace).map { Double($0) }
        guard fields.count > 21, let threads = fields[17], let start = fields[19], let virtual = fields[20],
            let resident = fields[21]
        else { return nil }
        self.threads = threads
        self.startTicks = start
        self.virtualBytes = virtual
        self.residentPages = resident
    }

    /// From /proc/stat, in seconds since 1970.
    static func bootTime(_ text: String) -> Double? {
        text.split(separator: "\n").first { $0.hasPrefix("btime ") }.flatMap { Double($0.dropFirst(6)) }
    }
}
