#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// `Codable` goes through Swift's numbers: integers up to 64 bits and decimals up to 38 digits stay exact,
/// and members lose their order. Parsing and ``JSONValue/encoded()`` keep everything.
extension JSONValue: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let bool = try? container.decode(Bool.self) {
            self = .bool(bool)
        } else if let integer = try? container.decode(Int64.self) {
            self = .number(String(integer))
        } else if let decimal = try? container.decode(Decimal.self) {
            self = .number(decimal.description)
        } else if let double = try? container.decode(Double.self), double.isFinite {
            self = .number(String(double))
        } else if let string = try? container.decode(String.self) {
            self = .string(string)
        } else if let array = try? container.decode([JSONValue].self) {
            self = .array(array)
        } else {
            let members = try container.decode([String: JSONValue].self)
            self = .object(JSONObject(members.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .object(let object):
            try container.encode(Dictionary(object.map { ($0.key, $0.value) }) { $1 })
        case .array(let array): try container.encode(array)
        case .string(let string): try container.encode(string)
        case .number(let literal):
            if let integer = Int64(literal) {
                try container.encode(integer)
            } else if let decimal = Decimal(string: literal) {
                try container.encode(decimal)
            } else {
                try container.encode(Double(literal))
            }
        case .bool(let bool): try container.encode(bool)
        case .null: try container.encodeNil()
        }
    }
}
