import Feed
import Foundation

/// What the way of a change counts: from the log to the sockets.
extension GatewayMetrics {
    func count(_ step: Step, _ cause: Doorbell.Cause, in mode: Doorbell.Mode) {
        self.steps.increment()
        self.reads.increment(ReadCause(cause, in: mode))
        if cause == .rung { self.rings.increment() }
        self.doorbell.enter(DoorbellState(mode))
        guard step.found > 0 else { return }
        self.changesRead.increment(by: step.found)
        self.stepChanges.record(step.found)
    }

    func count(_ log: LogStatus) {
        self.logSlot.set(log.slot)
        self.logBytes.set(Int(clamping: log.bytes))
        if let age = log.oldestSeconds {
            self.oldestChangeAge.set(Int(clamping: age))
        } else {
            self.oldestChangeAge.forget()
        }
        self.rotationOverdue.set(Int(clamping: log.overdueSeconds ?? 0))
    }

    /// What one view is told of a step, to so many receivers.
    func count(
        _ deltas: some Sequence<View.Delta>,
        at: Int64?,
        sent: (frames: Int, bytes: Int),
        receivers: Int
    ) {
        guard receivers > 0, let at else { return }
        self.deliveries.increment(by: sent.frames)
        self.sentBytes.increment(by: sent.bytes)
        self.commitToSocket.record(max(0, Date().timeIntervalSince1970 - Double(at) / 1e6), times: receivers)
        var updates = 0
        for delta in deltas {
            switch delta {
            case .enter(let reason): self.enters.increment(reason, by: receivers)
            case .update: updates += receivers
            case .leave(let reason, _): self.leaves.increment(reason, by: receivers)
            }
        }
        if updates > 0 { self.updates.increment(by: updates) }
    }
}
