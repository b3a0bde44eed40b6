import CLibPQ

/// Keeps the FATAL message that a server sends to an idle session before it closes it, and drops all other notices.
///
/// Touched only inside libpq calls, so by the thread that owns the connection.
final class Farewell {
    private(set) var reason: PostgresError?

    /// The connection must not outlive this object: libpq keeps an unretained pointer.
    func listen(to handle: OpaquePointer) {
        self.reason = nil
        let context = Unmanaged.passUnretained(self).toOpaque()
        _ = PQsetNoticeReceiver(
            handle,
            { context, result in
                guard let context, let result else { return }
                let notice = PostgresError(result: result, connectionIsBad: true)
                guard notice.severity == "FATAL" || notice.severity == "PANIC" else { return }
                Unmanaged<Farewell>.fromOpaque(context).takeUnretainedValue().reason = notice
            },
            context
        )
    }
}
