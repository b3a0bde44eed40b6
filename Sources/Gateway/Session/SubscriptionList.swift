/// The subscriptions of one session by id: mostly one, and as few as the limit says, so a search is cheaper than a
/// table.
struct SubscriptionList {
    private(set) var values: [Subscription] = []

    var count: Int { self.values.count }
    var isEmpty: Bool { self.values.isEmpty }

    subscript(id: String) -> Subscription? {
        get { self.values.first { $0.id == id } }
        set {
            self.values.removeAll { $0.id == id }
            if let newValue { self.values.append(newValue) }
        }
    }
}
