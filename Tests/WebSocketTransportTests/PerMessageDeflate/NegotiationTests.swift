import NIOHTTP1
import Testing

@testable import WebSocketTransport

/// After RFC 7692 sections 5 and 7.1, and the grammar of RFC 6455 section 9.1.
@Suite struct NegotiationTests {
    struct Case: CustomTestStringConvertible {
        let fields: [String]
        let answer: String
        var windowBits = 15

        var testDescription: String { "\(self.fields)" }

        init(_ fields: [String], _ answer: String, windowBits: Int = 15) {
            self.fields = fields
            self.answer = answer
            self.windowBits = windowBits
        }

        init(_ field: String, _ answer: String, windowBits: Int = 15) {
            self.init([field], answer, windowBits: windowBits)
        }
    }

    private static let accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    static let answered: [Case] = [
        // What Chromium, Firefox and Safari say.
        Case("permessage-deflate; client_max_window_bits", Self.accepted),
        Case("permessage-deflate", Self.accepted),
        Case("x-webkit-deflate-frame", "declined"),
        // What Python's websockets says.
        Case(
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            "\(Self.accepted); server_max_window_bits=12",
            windowBits: 12
        ),
        Case("permessage-deflate; server_no_context_takeover; client_no_context_takeover", Self.accepted),
        Case("permessage-deflate; client_no_context_takeover", Self.accepted),
        Case([], "declined"),
        Case("", "declined"),
        Case(" , ,", "declined"),
        Case("foo", "declined"),
        Case("Permessage-Deflate", "declined"),
        // The first offer that can be met.
        Case("foo, permessage-deflate", Self.accepted),
        Case(["foo; bar=1", "permessage-deflate"], Self.accepted),
        Case("permessage-deflate; foo, permessage-deflate", Self.accepted),
        Case(
            ["permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=9"],
            "\(Self.accepted); server_max_window_bits=9",
            windowBits: 9
        ),
        Case(
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "\(Self.accepted); server_max_window_bits=10",
            windowBits: 10
        ),
        // Values in quotes, and white space.
        Case(
            "permessage-deflate;\tserver_max_window_bits = \"1\\1\" ",
            "\(Self.accepted); server_max_window_bits=11",
            windowBits: 11
        ),
        Case("foo;a=\"b\", permessage-deflate;client_max_window_bits=\"10\"", Self.accepted),
        // Parameters that are unknown, stand twice, or have a value they may not have: that offer is declined.
        Case("permessage-deflate; foo", "declined"),
        Case("permessage-deflate; Server_No_Context_Takeover", "declined"),
        Case("permessage-deflate; client_max_window_bits; client_max_window_bits", "declined"),
        Case("permessage-deflate; server_no_context_takeover; server_no_context_takeover", "declined"),
        Case("permessage-deflate; server_no_context_takeover=1", "declined"),
        Case("permessage-deflate; client_no_context_takeover=true", "declined"),
        Case("permessage-deflate; server_max_window_bits", "declined"),
        Case("permessage-deflate; server_max_window_bits=7", "declined"),
        Case("permessage-deflate; server_max_window_bits=16", "declined"),
        Case("permessage-deflate; server_max_window_bits=09", "declined"),
        Case("permessage-deflate; server_max_window_bits=1e1", "declined"),
        Case("permessage-deflate; server_max_window_bits=-9", "declined"),
        Case("permessage-deflate; server_max_window_bits=99999999999999999999", "declined"),
        Case("permessage-deflate; client_max_window_bits=7", "declined"),
        Case("permessage-deflate; client_max_window_bits=16", "declined"),
        Case("permessage-deflate; client_max_window_bits=010", "declined"),
        // zlib cannot keep within 256 bytes.
        Case("permessage-deflate; server_max_window_bits=8", "declined"),
        Case("permessage-deflate; client_max_window_bits=8", Self.accepted),
        // Not what the grammar allows.
        Case("permessage-deflate;", "malformed"),
        Case("permessage-deflate; ;", "malformed"),
        Case("permessage-deflate; =1", "malformed"),
        Case("permessage-deflate; server_max_window_bits=", "malformed"),
        Case("permessage-deflate; server_max_window_bits=\"\"", "malformed"),
        Case("permessage-deflate; server_max_window_bits=\"10", "malformed"),
        Case("permessage-deflate; server_max_window_bits=\"10\\", "malformed"),
        Case("permessage-deflate; server_max_window_bits=\"1 0\"", "malformed"),
        Case("permessage-deflate; server_max_window_bits=10 11", "malformed"),
        Case("permessage-deflate foo", "malformed"),
        Case(["permessage-deflate", "foo;"], "malformed"),
        Case("\u{e9}", "malformed"),
        Case("\"permessage-deflate\"", "malformed"),
    ]

    @Test(arguments: Self.answered)
    func aServerAnswers(_ testCase: Case) {
        switch PerMessageDeflate().answer(to: testCase.fields) {
        case .accepted(let deflate, let header):
            #expect(header == testCase.answer)
            #expect(deflate.windowBits == testCase.windowBits)
        case .declined: #expect(testCase.answer == "declined")
        case .malformed: #expect(testCase.answer == "malformed")
        }
    }

    @Test(arguments: 9...15)
    func everyWindowIsKept(_ bits: Int) {
        let fields = ["permessage-deflate; server_max_window_bits=\(bits)"]
        guard case .accepted(let deflate, let header) = PerMessageDeflate().answer(to: fields) else {
            Issue.record("declined")
            return
        }
        #expect(deflate.windowBits == bits)
        #expect(header.hasSuffix("; server_max_window_bits=\(bits)"))
    }

    @Test func aServerAcceptsWhatAClientOffers() throws {
        guard case .accepted(_, let header) = PerMessageDeflate().answer(to: [PerMessageDeflate.offer]) else {
            Issue.record("declined")
            return
        }
        #expect(try PerMessageDeflate().accepted(by: [header]) != nil)
    }

    @Test(arguments: [
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=8",
        "permessage-deflate;server_no_context_takeover;server_max_window_bits=\"15\"",
    ])
    func aClientTakes(_ field: String) throws {
        #expect(try PerMessageDeflate().accepted(by: [field]) != nil)
    }

    @Test(arguments: [[], [""], [" , "]])
    func aClientTakesThatItIsDeclined(_ fields: [String]) throws {
        #expect(try PerMessageDeflate().accepted(by: fields) == nil)
    }

    @Test(arguments: [
        ["permessage-deflate"],
        ["permessage-deflate; client_no_context_takeover"],
        ["permessage-deflate; server_no_context_takeover=1"],
        ["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
        ["permessage-deflate; server_no_context_takeover; client_max_window_bits=15"],
        ["permessage-deflate; server_no_context_takeover; client_max_window_bits"],
        ["permessage-deflate; server_no_context_takeover; server_max_window_bits=16"],
        ["permessage-deflate; server_no_context_takeover; server_max_window_bits"],
        ["permessage-deflate; server_no_context_takeover; foo"],
        ["permessage-deflate; server_no_context_takeover, permessage-deflate; server_no_context_takeover"],
        ["permessage-deflate; server_no_context_takeover", "foo"],
        ["foo"],
        ["permessage-deflate; server_no_context_takeover;"],
    ])
    func aClientRefuses(_ fields: [String]) {
        #expect(throws: ExtensionFault.self) { try PerMessageDeflate().accepted(by: fields) }
    }
}
