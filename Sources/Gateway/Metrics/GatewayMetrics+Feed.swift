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
    func count(_ deltas: [Coalescer.Step], frames: Int, bytes: Int, receivers: Int) {
        guard receivers > 0, let last = deltas.last else { return }
        self.deliveries.increment(by: frames * receivers)
        self.sentBytes.increment(by: bytes * receivers)
        self.commitToSocket.record(
            max(0, Date().timeIntervalSince1970 - Double(last.change.at) / 1e6),
            times: receivers
        )
        for step in deltas {
            switch step.delta {
            case .enter(let reason): self.enters.increment(reason, by: receivers)
            case .update: self.updates.increment(by: receivers)
            case .leave(let reason, _): self.leaves.increment(reason, by: receivers)
            }
        }
    }
}
