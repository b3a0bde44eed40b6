import Testing

@testable import LibPQ

struct FairQueueTests {
    private func drain(_ queue: inout FairQueue<Int>) -> [Int] {
        var all: [Int] = []
        while let next = queue.popFirst() { all.append(next) }
        return all
    }

    @Test func ownersTakeTurns() {
        var queue = FairQueue<Int>()
        for number in 1...4 { queue.append(number, of: "greedy") }
        queue.append(10, of: "modest")
        queue.append(20, of: "patient")
        queue.append(11, of: "modest")
        #expect(queue.count == 7)
        #expect(self.drain(&queue) == [1, 10, 20, 2, 11, 3, 4])
        #expect(queue.isEmpty)
    }

    @Test func oneWhoHadATurnComesAfterThoseWhoWait() {
        var queue = FairQueue<Int>()
        queue.append(1, of: "a")
        queue.append(2, of: "b")
        #expect(queue.popFirst() == 1)
        queue.append(3, of: "a")
        queue.append(4, of: "b")
        #expect(self.drain(&queue) == [2, 3, 4])
    }

    @Test func whatIsRemovedLeavesNoTurnBehind() {
        var queue = FairQueue<Int>()
        queue.append(1, of: "a")
        queue.append(2, of: "b")
        queue.append(3, of: "b")
        #expect(queue.removeFirst(of: "a") { $0 == 2 } == nil)
        #expect(queue.removeFirst(of: "a") { $0 == 1 } == 1)
        #expect(queue.removeFirst(of: "b") { $0 == 3 } == 3)
        #expect(queue.count == 1)
        queue.append(4, of: "a")
        #expect(self.drain(&queue) == [2, 4])
    }

    @Test func removingAllEmptiesIt() {
        var queue = FairQueue<Int>()
        for number in 0..<6 { queue.append(number, of: "\(number % 2)") }
        #expect(queue.removeAll().sorted() == Array(0..<6))
        #expect(queue.isEmpty && queue.popFirst() == nil)
    }
}
