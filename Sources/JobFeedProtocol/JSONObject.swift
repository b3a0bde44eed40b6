/// The members of a JSON object in the order they were written; two objects are equal whatever their order.
public struct JSONObject: Sendable {
    public private(set) var keys: [String] = []
    private var values: [String: JSONValue] = [:]

    public init() {}

    /// A key that comes twice has the last of its values.
    public init(_ members: some Sequence<(String, JSONValue)>) {
        for (key, value) in members {
            self[key] = value
        }
    }

    public var count: Int { self.keys.count }
    public var isEmpty: Bool { self.keys.isEmpty }

    public subscript(key: String) -> JSONValue? {
        get { self.values[key] }
        set {
            if let newValue {
                if self.values.updateValue(newValue, forKey: key) == nil {
                    self.keys.append(key)
                }
            } else if self.values.removeValue(forKey: key) != nil {
                self.keys.removeAll { $0 == key }
            }
        }
    }

    /// `Object.assign(self, other)`: members of `other` replace or join the members here.
    public mutating func assign(_ other: JSONObject) {
        for (key, value) in other {
            self[key] = value
        }
    }
}

extension JSONObject: Equatable {
    public static func == (left: Self, right: Self) -> Bool {
        left.values == right.values
    }
}

extension JSONObject: Sequence {
    public func makeIterator() -> AnyIterator<(key: String, value: JSONValue)> {
        var keys = self.keys.makeIterator()
        let values = self.values
        return AnyIterator {
            guard let key = keys.next() else { return nil }
            return (key, values[key] ?? .null)
        }
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self.init(elements)
    }
}
