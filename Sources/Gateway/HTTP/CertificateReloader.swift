import ServiceLifecycle
import UnixSignals

/// Reads the certificate anew on SIGHUP.
struct CertificateReloader: Service {
    private let certificate: ServerCertificate
    private let signals: UnixSignalsSequence

    /// From here on SIGHUP does not end the process.
    init(_ certificate: ServerCertificate) async {
        self.certificate = certificate
        self.signals = await UnixSignalsSequence(trapping: .sighup)
    }

    func run() async {
        for await _ in self.signals.cancelOnGracefulShutdown() { self.certificate.reload() }
    }
}
