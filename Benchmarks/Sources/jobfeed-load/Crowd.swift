import Glibc

/// Many sockets on one thread: opens them, keeps them open and counts what comes.
final class Crowd {
    /// How far the crowd is; said once when everybody who is wanted is live.
    struct Arrival {
        var wanted = 0
        var live = 0
        /// Microseconds; of the first connection that a server took.
        var since: UInt64 = 0
        var isSaid = true
    }

    private let options: Options
    // What each frame asks; reading an option takes longer than reading a frame.
    private let lives: Int
    private let keepsCursors: Bool
    private let credit: (descriptor: Int32, every: Int)?
    private let tokens: [String]
    private let poller: Poller
    private let ready: [UInt8]
    private let connections: UnsafeMutablePointer<Connection>
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 << 20, alignment: 64)
    private var started = 0
    private var inflight = 0
    private var waiting = 0
    /// Whether a server is known to listen; while it is not, one connection at a time asks.
    private var isServerThere = true
    private var probeAt: UInt64 = 0
    private(set) var arrival = Arrival()
    /// Changes since the start.
    private(set) var received = 0
    private var credits = 0
    private(set) var postponed = 0
    private(set) var lostConnections = 0
    private(set) var failure: String? = nil
    var window = Window()

    init(_ options: Options, tokens: [String], poller: Poller) {
        self.options = options
        self.lives = options.lives
        self.keepsCursors = options.reconnect
        self.credit = options.creditDescriptor < 0 ? nil : (options.creditDescriptor, options.creditEvery)
        self.tokens = tokens
        self.poller = poller
        self.ready = Array(options.ready.utf8)
        self.connections = .allocate(capacity: options.connections)
        self.connections.initialize(repeating: Connection(), count: options.connections)
    }

    // MARK: Coming and going

    func open(_ wanted: Int) {
        self.arrival.wanted = min(wanted, self.options.connections)
        self.arrival.since = Stamps.now()
        self.arrival.isSaid = false
    }

    func shrink(to wanted: Int) {
        self.arrival.wanted = wanted
        for index in wanted..<max(self.started, wanted) { self.close(index, comesBack: false) }
        self.started = min(self.started, wanted)
    }

    /// Everybody is there: said once.
    func hasArrived() -> Bool {
        guard !self.arrival.isSaid, self.arrival.live == self.arrival.wanted else { return false }
        self.arrival.isSaid = true
        return true
    }

    /// Whether ``advance(now:)`` has something to do soon.
    var isBusy: Bool { self.started < self.arrival.wanted || self.waiting > 0 }

    func advance(now: UInt64) {
        while self.started < self.arrival.wanted, self.inflight < self.limit {
            self.connect(self.started)
            self.started += 1
        }
        guard self.waiting > 0, now >= self.probeAt else { return }
        for index in 0..<self.started where self.inflight < self.limit {
            let at = self.connections[index].retryAt
            guard at > 0, at <= now else { continue }
            self.connections[index].retryAt = 0
            self.waiting -= 1
            self.connect(index)
            guard self.isServerThere || self.inflight > 0 else { break }
        }
    }

    private var limit: Int { self.isServerThere ? self.options.inflight : 1 }

    private func connect(_ index: Int) {
        let descriptor = Socket.connect(port: self.options.port)
        guard descriptor >= 0 else {
            self.isServerThere = false
            self.probeAt = Stamps.now() + 5000
            return self.retry(index, after: 0.005)
        }
        self.connections[index].descriptor = descriptor
        self.connections[index].phase = .connecting
        self.connections[index].joined = 0
        self.inflight += 1
        self.poller.add(descriptor, tag: index, writing: true)
    }

    private func retry(_ index: Int, after seconds: Double) {
        guard self.connections[index].retryAt == 0 else { return }
        self.connections[index].retryAt = Stamps.now() + UInt64(seconds * 1e6)
        self.waiting += 1
    }

    private func close(_ index: Int, comesBack: Bool, after seconds: Double = 0.005) {
        let connection = self.connections + index
        switch connection.pointee.phase {
        case .connecting, .handshaking: self.inflight -= 1
        case .live: self.arrival.live -= 1
        case .joining: break
        case .idle, .closed:
            if !comesBack, connection.pointee.retryAt > 0 {
                connection.pointee.retryAt = 0
                self.waiting -= 1
            }
            return
        }
        Glibc.close(connection.pointee.descriptor)
        connection.pointee.descriptor = -1
        connection.pointee.phase = .closed
        connection.pointee.carry = []
        if comesBack { self.retry(index, after: seconds) }
    }

    private func lost(_ index: Int) {
        let phase = self.connections[index].phase
        if phase == .live || phase == .joining {
            self.window.closed += 1
            self.lostConnections += 1
        }
        if phase == .connecting { self.isServerThere = false }
        if self.options.reconnect, self.arrival.isSaid { self.arrival.isSaid = false }
        // A server that is not there is asked often; one that closes what it took is given time.
        let isRefused = phase != .connecting && phase != .live
        self.close(index, comesBack: self.options.reconnect, after: isRefused ? 0.2 : 0.005)
    }

    // MARK: What comes

    func isReady(_ index: Int) {
        switch self.connections[index].phase {
        case .connecting: self.connected(index)
        case .handshaking, .joining, .live: self.receive(index)
        case .idle, .closed: break
        }
    }

    private func connected(_ index: Int) {
        let descriptor = self.connections[index].descriptor
        var error: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size)
        guard error == 0 else { return self.lost(index) }
        if !self.isServerThere {
            self.isServerThere = true
            self.arrival.since = Stamps.now()
        }
        self.connections[index].phase = .handshaking
        self.poller.change(descriptor, tag: index)
        let token = self.tokens.isEmpty ? nil : self.tokens[index % self.tokens.count]
        let request = Handshake.request(
            path: self.options.path,
            port: self.options.port,
            headers: self.options.header,
            token: token
        )
        Socket.send(request, to: descriptor)
    }

    private func receive(_ index: Int) {
        guard let start = self.buffer.baseAddress else { return }
        let connection = self.connections + index
        let kept = connection.pointee.carry.count
        if kept > 0 { connection.pointee.carry.withUnsafeBytes { self.buffer.copyMemory(from: $0) } }
        let count = recv(connection.pointee.descriptor, start + kept, self.buffer.count - kept, 0)
        guard count > 0 else {
            if count == 0 || errno != EAGAIN { self.lost(index) }
            return
        }
        self.window.bytes += count
        var bytes = UnsafeRawBufferPointer(start: start, count: kept + count)
        if connection.pointee.phase == .handshaking {
            guard let rest = self.shakeHands(index, bytes) else { return }
            bytes = rest
        }
        let now = Stamps.now()
        let taken = Frames.forEach(in: bytes) { self.frame(index, $0, $1, now) }
        if taken < bytes.count {
            connection.pointee.carry = Array(bytes[taken...])
        } else if kept > 0 {
            connection.pointee.carry = []
        }
    }

    /// - Returns: what came after the head; `nil` when there was no good one.
    private func shakeHands(_ index: Int, _ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        switch Handshake.answer(bytes) {
        case .incomplete:
            self.connections[index].carry = Array(bytes)
            return nil
        case .later(let seconds):
            self.postponed += 1
            // Advice for all is spread by each.
            self.close(index, comesBack: true, after: seconds * .random(in: 0.75...1.25))
            return nil
        case .refused(let why):
            self.failure = why
            self.close(index, comesBack: false)
            return nil
        case .accepted(let head):
            self.inflight -= 1
            self.connections[index].phase = .joining
            self.connections[index].carry = []
            let frames = self.joinFrames(index)
            if !frames.isEmpty { Socket.send(frames, to: self.connections[index].descriptor) }
            if self.ready.isEmpty { self.isLive(index) }
            return UnsafeRawBufferPointer(rebasing: bytes[head...])
        }
    }

    private func joinFrames(_ index: Int) -> [UInt8] {
        let cursor = String(decoding: self.connections[index].cursor, as: UTF8.self)
        let resume = cursor.isEmpty ? "" : ",\"resume\":\"\(cursor)\""
        return self.options.join.flatMap { text in
            let text = text.replacing("%j", with: "\(1 + index % self.options.jobs)").replacing("%r", with: resume)
            return Frames.masked(Frames.Opcode.text, Array(text.utf8))
        }
    }

    private func isLive(_ index: Int) {
        self.connections[index].phase = .live
        self.arrival.live += 1
    }

    @inline(__always)
    private func frame(_ index: Int, _ opcode: UInt8, _ payload: UnsafeRawBufferPointer, _ now: UInt64) {
        switch opcode {
        case Frames.Opcode.ping:
            Socket.send(Frames.masked(Frames.Opcode.pong, payload), to: self.connections[index].descriptor)
            return
        case Frames.Opcode.close:
            if payload.count > 2 { self.failure = String(decoding: payload[2...], as: UTF8.self) }
            return
        default: break
        }
        self.window.frames += 1
        if self.connections[index].phase == .joining {
            self.connections[index].joined += Frames.count(self.ready, in: payload)
            if self.connections[index].joined >= self.lives { self.isLive(index) }
        } else {
            Stamps.forEach(in: payload) { stamp in
                self.window.delivered(after: now > stamp ? now - stamp : 0)
                self.received += 1
            }
            self.giveCredit()
        }
        if self.keepsCursors, let cursor = Frames.cursor(in: payload) {
            self.connections[index].cursor = Array(cursor)
        }
    }

    private func giveCredit() {
        guard let credit else { return }
        while self.received >= (self.credits + 1) * credit.every * max(self.arrival.live, 1) {
            self.credits += 1
            var byte: UInt8 = 0x2E
            write(credit.descriptor, &byte, 1)
        }
    }
}
