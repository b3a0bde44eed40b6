import AsyncHTTPClient
import NIOCore
import NIOPosix
import NIOSSL

/// Why a JWK set could not be had, in words without addresses.
package struct KeyFetchFailure: Error, Equatable {
    enum Kind: String, Sendable {
        case unreachable
        case refused
        case unusable
    }

    let kind: Kind
    package let message: String

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    init(_ error: any Error) {
        switch error {
        case let failure as KeyFetchFailure: self = failure
        case is NIOTooManyBytesError:
            self.init(.unusable, "it has more than \(KeySetFetcher.maximumBytes >> 10) KiB")
        case let error as HTTPClientError: self.init(.unreachable, error.shortDescription.lowercased())
        case let error as NIOConnectionError:
            if let reason = error.dnsAError ?? error.dnsAAAAError, error.connectionErrors.isEmpty {
                self.init(.unreachable, "its host has no address (\(reason))")
            } else {
                self.init(.unreachable, "nobody answers there")
            }
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
            self.init(.unreachable, "its certificate is not accepted: \(Self.brief(error))")
        default: self.init(.unreachable, Self.brief(error))
        }
    }

    private static func brief(_ error: any Error) -> String {
        String("\(error)".prefix(200).map { $0.isNewline ? " " : $0 })
    }
}
