import NIOCore

/// Measures on one event loop how late its timers fire: what a loop is late, all its sockets wait.
enum LoopLag {
    private static let interval = TimeAmount.milliseconds(250)

    static func start(on loop: any EventLoop, _ histogram: PrometheusHistogram) -> RepeatedTask {
        let expected = NIOLoopBoundBox.makeBoxSendingValue(loop.now + Self.interval, eventLoop: loop)
        return loop.scheduleRepeatedTask(initialDelay: Self.interval, delay: Self.interval) { _ in
            let now = NIODeadline.now()
            histogram.recordNanoseconds(max(0, (now - expected.value).nanoseconds))
            expected.value = now + Self.interval
        }
    }
}
