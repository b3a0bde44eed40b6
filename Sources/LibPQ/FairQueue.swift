import DequeModule

/// First come, first served among owners that take turns: one who asks for a thousand things delays another by one.
struct FairQueue<Element> {
    private var elements: [String: Deque<Element>] = [:]
    /// Owners that have something waiting, in the order of their turns.
    private var turns: Deque<String> = []
    private(set) var count = 0

    var isEmpty: Bool { self.count == 0 }

    mutating func append(_ element: Element, of owner: String) {
        if self.elements[owner] == nil { self.turns.append(owner) }
        self.elements[owner, default: []].append(element)
        self.count += 1
    }

    mutating func popFirst() -> Element? {
        guard let owner = self.turns.popFirst(), let element = self.elements[owner]?.popFirst() else { return nil }
        self.count -= 1
        if self.elements[owner]?.isEmpty == true {
            self.elements[owner] = nil
        } else {
            self.turns.append(owner)
        }
        return element
    }

    mutating func removeFirst(of owner: String, where matches: (Element) -> Bool) -> Element? {
        guard let index = self.elements[owner]?.firstIndex(where: matches) else { return nil }
        self.count -= 1
        let element = self.elements[owner]?.remove(at: index)
        if self.elements[owner]?.isEmpty == true {
            self.elements[owner] = nil
            self.turns.removeAll { $0 == owner }
        }
        return element
    }

    mutating func removeAll() -> [Element] {
        defer { self = FairQueue() }
        return self.elements.values.flatMap { Array($0) }
    }
}

extension FairQueue: Sendable where Element: Sendable {}
