import NIOCore
import Testing

@testable import Gateway

@Suite struct CommandBudgetTests {
    private let start = NIODeadline.uptimeNanoseconds(1)

    @Test func aBurstIsWelcomeAndOneMoreIsNot() {
        var budget = CommandBudget(perSecond: 200, now: self.start)
        let taken = (0..<3000).prefix { _ in budget.take(bytes: 60, now: self.start) }
        #expect(taken.count == 2000)
    }

    @Test func itFillsWithTimeUpToABurst() {
        var budget = CommandBudget(perSecond: 200, now: self.start)
        while budget.take(bytes: 0, now: self.start) {}
        func taken(after time: TimeAmount) -> Int {
            var copy = budget
            return (0..<3000).prefix { _ in copy.take(bytes: 0, now: self.start + time) }.count
        }
        #expect(taken(after: .seconds(1)) == 199)
        #expect(taken(after: .seconds(5)) == 999)
        #expect(taken(after: .hours(24)) == 2000)
    }

    @Test func longCommandsCountMore() {
        var budget = CommandBudget(perSecond: 200, now: self.start)
        #expect((0..<3000).prefix { _ in budget.take(bytes: 65_535, now: self.start) }.count == 31)
    }
}
