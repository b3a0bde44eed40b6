import Feed
import HTTPTypes
import JobFeedProtocol
import NIOCore
import Synchronization

/// How many connections a node takes; one beyond a limit is refused before it costs anything.
package struct ConnectionLimits: Sendable, Equatable {
    /// WebSockets in all.
    package var total = 10_000
    /// WebSockets of one user.
    package var perUser = 10_000
    /// WebSockets from one address, or from one IPv6 network of 64 bits; `nil`: any number, as behind a proxy.
    package var perAddress: Int? = nil
    /// Connections that are not WebSockets yet.
    package var handshakes = 4096

    package init() {}
}

/// Who is connected from where; shared by all event loops.
final class ConnectionCensus: Sendable {
    enum Refusal: String, Sendable, CaseIterable {
        case total, user, address, handshakes
    }

    /// What one connection takes part in; leaves by itself when its channel has closed.
    final class Seat: Sendable {
        enum Place: Sendable {
            case handshake
            case http
            case webSocket(user: ByteText?)
            case left
        }

        fileprivate let address: Network?
        /// Only under the lock of the census.
        fileprivate let place = Mutex(Place.handshake)

        fileprivate init(address: Network?) {
            self.address = address
        }
    }

    private struct State: Sendable {
        var handshakes = 0
        var webSockets = 0
        var users: [ByteText: Int] = [:]
        var addresses: [Network: Int] = [:]
        /// Waits for the last WebSocket to close.
        var waiting: CheckedContinuation<Void, Never>?
    }

    let limits: ConnectionLimits
    private let state = Mutex(State())

    init(limits: ConnectionLimits) {
        self.limits = limits
    }

    var users: Int { self.state.withLock { $0.users.count } }

    /// - Returns: `nil` when there are so many handshakes that even an answer would be too much.
    func enter(_ address: SocketAddress?) -> Seat? {
        let key = self.limits.perAddress == nil ? nil : address.flatMap { Network($0) }
        return self.state.withLock { state in
            guard state.handshakes < 2 * self.limits.handshakes else { return nil }
            state.handshakes += 1
            return Seat(address: key)
        }
    }

    /// Whether there is room for one more WebSocket, before its token is looked at.
    func refusal(of seat: Seat) -> Refusal? {
        self.state.withLock { state in
            if state.handshakes > self.limits.handshakes { return .handshakes }
            return self.refusal(of: seat, user: nil, state)
        }
    }

    /// The connection becomes a WebSocket.
    ///
    /// - Parameter user: `nil`: its first frame will say.
    func upgrade(_ seat: Seat, user: ByteText?) -> Refusal? {
        self.state.withLock { state in
            seat.place.withLock { place in
                guard case .handshake = place else { return nil }
                if let refusal = self.refusal(of: seat, user: user, state) { return refusal }
                state.handshakes -= 1
                Self.admit(seat, user, &state, &place)
                return nil
            }
        }
    }

    /// A connection that served plain requests becomes a stream, which counts as a WebSocket does.
    func beginStream(_ seat: Seat, user: ByteText) -> Refusal? {
        self.state.withLock { state in
            seat.place.withLock { place in
                guard case .http = place else { return nil }
                if let refusal = self.refusal(of: seat, user: user, state) { return refusal }
                Self.admit(seat, user, &state, &place)
                return nil
            }
        }
    }

    private static func admit(_ seat: Seat, _ user: ByteText?, _ state: inout State, _ place: inout Seat.Place) {
        state.webSockets += 1
        if let address = seat.address { state.addresses[address, default: 0] += 1 }
        if let user { state.users[user, default: 0] += 1 }
        place = .webSocket(user: user)
    }

    /// The WebSocket's first frame has said who it is.
    ///
    /// - Returns: whether this user may have one more.
    func identify(_ seat: Seat, as user: ByteText) -> Bool {
        self.state.withLock { state in
            seat.place.withLock { place in
                guard case .webSocket(nil) = place else { return true }
                guard state.users[user, default: 0] < self.limits.perUser else { return false }
                state.users[user, default: 0] += 1
                place = .webSocket(user: user)
                return true
            }
        }
    }

    /// The connection serves plain requests.
    func becameHTTP(_ seat: Seat) {
        self.state.withLock { state in
            seat.place.withLock { place in
                guard case .handshake = place else { return }
                state.handshakes -= 1
                place = .http
            }
        }
    }

    func leave(_ seat: Seat) {
        let waiting = self.state.withLock { state in
            seat.place.withLock { place in
                switch place {
                case .handshake: state.handshakes -= 1
                case .webSocket(let user):
                    state.webSockets -= 1
                    if let user { Self.decrement(&state.users, user) }
                    if let address = seat.address { Self.decrement(&state.addresses, address) }
                case .http, .left: break
                }
                place = .left
            }
            return state.webSockets == 0 ? state.waiting.take() : nil
        }
        waiting?.resume()
    }

    /// Returns when no WebSocket is open, or when its task is cancelled.
    func waitUntilEmpty() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = self.state.withLock { state in
                    let isOver = state.webSockets == 0 || Task.isCancelled
                    if !isOver { state.waiting = continuation }
                    return isOver
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            self.state.withLock { $0.waiting.take() }?.resume()
        }
    }

    private func refusal(of seat: Seat, user: ByteText?, _ state: State) -> Refusal? {
        if state.webSockets >= self.limits.total { return .total }
        if let user, state.users[user, default: 0] >= self.limits.perUser { return .user }
        if let limit = self.limits.perAddress, let address = seat.address, state.addresses[address, default: 0] >= limit
        {
            return .address
        }
        return nil
    }

    private static func decrement<Key>(_ counts: inout [Key: Int], _ key: Key) {
        let left = (counts[key] ?? 0) - 1
        counts[key] = left > 0 ? left : nil
    }
}

/// One household or machine: an IPv4 address, or the 64 bits of an IPv6 address that are given out together.
enum Network: Hashable, Sendable {
    case v4(UInt32)
    case v6(UInt64)

    init?(_ address: SocketAddress) {
        switch address {
        // By offset (RFC 3493 §3.3): which module defines the members depends on what else is imported.
        case .v4(let address):
            self = withUnsafeBytes(of: address.address) { .v4($0.loadUnaligned(fromByteOffset: 4, as: UInt32.self)) }
        case .v6(let address):
            self = withUnsafeBytes(of: address.address) { structure in
                let bytes = UnsafeRawBufferPointer(rebasing: structure[8..<24])
                // RFC 4291 §2.5.5.2: an IPv4 address in IPv6 clothes.
                if bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xff, bytes[11] == 0xff {
                    return .v4(bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self))
                }
                return .v6(bytes.loadUnaligned(as: UInt64.self))
            }
        case .unixDomainSocket: return nil
        }
    }
}

extension Problem {
    /// In an answer to a request that wanted to become a WebSocket.
    init(_ refusal: ConnectionCensus.Refusal, _ limits: ConnectionLimits) {
        switch refusal {
        case .total:
            self.init(
                status: .serviceUnavailable,
                code: .unavailable,
                detail: "this node serves \(limits.total) connections, which is its limit; try another node, or later",
                // Spread: those who were refused together must not come back together.
                retryAfter: .random(in: 5...15)
            )
        case .handshakes:
            self.init(
                status: .serviceUnavailable,
                code: .unavailable,
                detail: "too many connections are being opened at this moment; try again",
                retryAfter: .random(in: 1...3)
            )
        case .user:
            self.init(
                status: .tooManyRequests,
                code: .connectionLimit,
                detail: "this user has \(limits.perUser) connections open, which is the limit; close one first",
                retryAfter: 30
            )
        case .address:
            self.init(
                status: .tooManyRequests,
                code: .connectionLimit,
                detail: "\(limits.perAddress ?? 0) connections are open from this address, which is the limit",
                retryAfter: 30
            )
        }
    }
}
