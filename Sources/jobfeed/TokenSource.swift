import ArgumentParser

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Where the token comes from; a file is read anew each time, so that a renewed one is picked up.
enum TokenSource: Sendable, Equatable {
    case file(String)
    case fixed(String)

    init(file: String?, environment: [String: String]) throws {
        if let file {
            self = .file(file)
        } else if let token = environment["JOBFEED_TOKEN"].map(Self.trimmed), !token.isEmpty {
            self = .fixed(token)
        } else {
            throw ValidationError("There is no token; set JOBFEED_TOKEN or name a file with --token-file.")
        }
        do {
            _ = try self.read()
        } catch {
            throw ValidationError("\(error)")
        }
    }

    func read() throws -> String {
        switch self {
        case .fixed(let token): return token
        case .file(let path):
            guard let data = FileManager.default.contents(atPath: path) else {
                throw TokenFileError(description: "The token file \(path) cannot be read.")
            }
            let token = Self.trimmed(String(decoding: data, as: UTF8.self))
            guard !token.isEmpty else {
                throw TokenFileError(description: "The token file \(path) is empty.")
            }
            return token
        }
    }

    private static func trimmed(_ text: String) -> String {
        String(text.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }
}

struct TokenFileError: Error, CustomStringConvertible {
    let description: String
}
