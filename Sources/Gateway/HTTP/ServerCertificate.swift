package import Foundation
import Logging
import NIOCore
import NIOSSL
import Synchronization

/// The files that TLS is served with, and what they hold at the moment they are read.
package struct CertificateFiles: Sendable, Hashable {
    /// A chain in PEM, the server's own certificate first.
    package let certificate: String
    /// The key of the first certificate, in PEM, without a passphrase.
    package let key: String

    package init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }

    /// What was read from the files.
    package struct Contents: Sendable {
        let context: NIOSSLContext
        let certificatePath: String
        package let validFrom: Date
        package let validUntil: Date

        /// Why clients will refuse the certificate although it can be served.
        package func warning(now: Date) -> String? {
            if self.validUntil < now {
                return "the certificate in \(self.certificatePath) expired at \(self.validUntil.ISO8601Format()); "
                    + "clients refuse it until a new one is there"
            }
            if self.validFrom > now {
                return "the certificate in \(self.certificatePath) is not valid before "
                    + "\(self.validFrom.ISO8601Format()); is the clock right?"
            }
            return nil
        }
    }

    package func read() throws(CertificateError) -> Contents {
        let chain: [NIOSSLCertificate]
        let pem = try Self.bytes(of: self.certificate)
        do {
            chain = try NIOSSLCertificate.fromPEMBytes(pem)
        } catch {
            throw CertificateError(message: "\(self.certificate) holds no certificate in PEM (BEGIN CERTIFICATE)")
        }
        guard let leaf = chain.first else {
            throw CertificateError(message: "\(self.certificate) holds no certificate in PEM (BEGIN CERTIFICATE)")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(try self.privateKey())
        )
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        do {
            return Contents(
                context: try NIOSSLContext(configuration: configuration),
                certificatePath: self.certificate,
                validFrom: Date(timeIntervalSince1970: Double(leaf.notValidBefore)),
                validUntil: Date(timeIntervalSince1970: Double(leaf.notValidAfter))
            )
        } catch NIOSSLError.failedToLoadPrivateKey {
            throw CertificateError(
                message: "the key in \(self.key) is not the key of the first certificate in \(self.certificate)"
            )
        } catch {
            throw CertificateError(message: "\(self.certificate) and \(self.key) cannot be served: \(error)")
        }
    }

    private func privateKey() throws(CertificateError) -> NIOSSLPrivateKey {
        let pem = try Self.bytes(of: self.key)
        do {
            return try NIOSSLPrivateKey(bytes: pem, format: .pem)
        } catch {
            let isEncrypted = String(decoding: pem, as: UTF8.self).contains("ENCRYPTED")
            throw CertificateError(
                message: isEncrypted
                    ? "the key in \(self.key) has a passphrase; take it off (openssl pkey -in … -out …)"
                    : "\(self.key) holds no private key in PEM (BEGIN PRIVATE KEY)"
            )
        }
    }

    private static func bytes(of path: String) throws(CertificateError) -> [UInt8] {
        do {
            return try Array(Data(contentsOf: URL(fileURLWithPath: path)))
        } catch {
            let reason = error.localizedDescription
            throw CertificateError(message: "cannot read \(path): \(reason)")
        }
    }
}

/// Why a certificate cannot be served; names the file.
package struct CertificateError: Error, Equatable {
    package let message: String
}

/// What new connections are served with: the certificate as it was when it could last be read.
final class ServerCertificate: Sendable {
    private let files: CertificateFiles
    private let current: Mutex<NIOSSLContext>
    private let logger: Logger

    init(_ files: CertificateFiles, logger: Logger) throws(CertificateError) {
        let contents = try files.read()
        self.files = files
        self.current = Mutex(contents.context)
        self.logger = logger
        if let warning = contents.warning(now: Date()) { logger.warning("\(warning)") }
    }

    var handler: NIOSSLServerHandler { NIOSSLServerHandler(context: self.current.withLock { $0 }) }

    /// Reads the files again; what cannot be served changes nothing.
    func reload() {
        do {
            let contents = try self.files.read()
            self.current.withLock { $0 = contents.context }
            self.logger.info(
                "New certificate for new connections",
                metadata: [
                    "file": "\(self.files.certificate)", "valid_until": "\(contents.validUntil.ISO8601Format())",
                ]
            )
            if let warning = contents.warning(now: Date()) { self.logger.warning("\(warning)") }
        } catch {
            self.logger.error("The old certificate stays: \(error.message)")
        }
    }
}
