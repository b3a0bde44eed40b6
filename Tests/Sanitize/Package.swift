// swift-tools-version: 6.2
import PackageDescription

// The targets that need neither database nor HTTP server, linked from the main package: a build with a sanitizer
// compiles every dependency anew, and these have few. Run by `make sanitize`.

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let package = Package(
    name: "jobfeed-sanitize",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "Feed", swiftSettings: settings),
        .target(name: "JobFeedProtocol", swiftSettings: settings),
        .target(
            name: "WebSocketTransport",
            dependencies: [
                "CZlib",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            // The client half brings TLS and with it BoringSSL, which takes longer to build than all the rest.
            exclude: ["Client"],
            swiftSettings: settings
        ),
        .target(name: "Fuzz", swiftSettings: settings),
        .testTarget(
            name: "FeedTests",
            dependencies: ["Feed", "Fuzz"],
            // The model check walks through all states of pure values: nothing that a sanitizer would see.
            exclude: ["Doorbell"],
            swiftSettings: settings
        ),
        .testTarget(name: "JobFeedProtocolTests", dependencies: ["Fuzz", "JobFeedProtocol"], swiftSettings: settings),
        .testTarget(
            name: "WebSocketTransportTests",
            dependencies: [
                "Fuzz", "WebSocketTransport",
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
            ],
            exclude: [
                "CannedServerTests.swift", "DirectConnectionTests.swift", "EndToEndTests.swift", "EndpointTests.swift",
                "TestServer.swift",
            ],
            swiftSettings: settings
        ),
    ]
)
