// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    // SE-0335: `any` in front of existentials
    .enableUpcomingFeature("ExistentialAny"),
    // SE-0444: members come only from modules the file imports
    .enableUpcomingFeature("MemberImportVisibility"),
    // SE-0409: `import` is internal unless it says `package` or `public`
    .enableUpcomingFeature("InternalImportsByDefault"),
    // SE-0461: nonisolated async functions run on the caller's executor
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    // SE-0480
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "jobfeed",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "JobFeedClient", targets: ["JobFeedClient"]),
        .executable(name: "jobfeed-server", targets: ["jobfeed-server"]),
        .executable(name: "jobfeed", targets: ["jobfeed"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: ["YAML"]),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
    ],
    targets: [
        // System libraries.
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        // Leaves: each knows one thing and nothing of the others.
        .target(
            name: "LibPQ",
            dependencies: [
                "CLibPQ",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "WebSocketTransport",
            dependencies: [
                "CZlib",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: settings
        ),
        .target(name: "Feed", swiftSettings: settings),
        .target(name: "JobFeedProtocol", swiftSettings: settings),
        .target(
            name: "JobFeedSchema",
            // Embedded, so that one binary installs its own schema.
            resources: [
                .embedInCode("sql/s00_guard.sql"),
                .embedInCode("sql/s05_roles.sql"),
                .embedInCode("sql/s10_migration_001.sql"),
                .embedInCode("sql/s11_migration_002.sql"),
                .embedInCode("sql/s12_migration_003.sql"),
                .embedInCode("sql/s13_migration_004.sql"),
                .embedInCode("sql/s20_text.sql"),
                .embedInCode("sql/s25_epoch.sql"),
                .embedInCode("sql/s30_ring.sql"),
                .embedInCode("sql/s35_capture.sql"),
                .embedInCode("sql/s37_retention.sql"),
                .embedInCode("sql/s40_readers.sql"),
                .embedInCode("sql/s45_catalog.sql"),
                .embedInCode("sql/s48_statement.sql"),
                .embedInCode("sql/s50_generate.sql"),
                .embedInCode("sql/s55_lifecycle.sql"),
                .embedInCode("sql/s60_attach.sql"),
                .embedInCode("sql/s62_presets.sql"),
                .embedInCode("sql/s63_proposal.sql"),
                .embedInCode("sql/s65_kick.sql"),
                .embedInCode("sql/s70_privileges.sql"),
                .embedInCode("sql/s80_refresh.sql"),
                .embedInCode("sql/s90_reference_tables.sql"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "EmbeddedPostgres",
            dependencies: [],
            swiftSettings: settings
        ),
        // The page and its client, embedded in the server so that one binary serves them.
        .target(
            name: "WebDemo",
            path: "web-demo",
            sources: ["WebDemo.swift"],
            resources: [
                .embedInCode("activity.js"),
                .embedInCode("app.js"),
                .embedInCode("detail.js"),
                .embedInCode("favicon.svg"),
                .embedInCode("format.js"),
                .embedInCode("index.html"),
                .embedInCode("jobfeed.js"),
                .embedInCode("joblist.js"),
                .embedInCode("ordered.js"),
                .embedInCode("style.css"),
                .embedInCode("theme.js"),
            ],
            swiftSettings: settings
        ),

        // The server.
        .target(
            name: "Gateway",
            dependencies: [
                "Feed", "JobFeedProtocol", "LibPQ", "WebDemo", "WebSocketTransport",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "JWTKit", package: "jwt-kit"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            resources: [.embedInCode("HTTP/openapi.json"), .embedInCode("HTTP/asyncapi.json")],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "jobfeed-server",
            dependencies: [
                "EmbeddedPostgres", "Gateway", "JobFeedSchema", "LibPQ",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "JWTKit", package: "jwt-kit"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: settings
        ),

        // The client: no libpq, so that it runs anywhere.
        .target(
            name: "JobFeedClient",
            dependencies: [
                "JobFeedProtocol", "WebSocketTransport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "jobfeed",
            dependencies: [
                "JobFeedClient", "JobFeedProtocol",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings
        ),

        // What Tests/Conformance talks to; part of no product.
        .executableTarget(
            name: "websocket-echo",
            dependencies: [
                "WebSocketTransport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Tests/Conformance/EchoServer",
            swiftSettings: settings
        ),

        // Tests of the pure pieces; what needs a database stands in Tests/Integration (Python).
        .target(name: "Fuzz", path: "Tests/Fuzz", swiftSettings: settings),
        .testTarget(name: "FeedTests", dependencies: ["Feed", "Fuzz"], swiftSettings: settings),
        .testTarget(name: "JobFeedProtocolTests", dependencies: ["Fuzz", "JobFeedProtocol"], swiftSettings: settings),
        .testTarget(
            name: "WebSocketTransportTests",
            dependencies: [
                "Fuzz", "WebSocketTransport",
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LibPQTests",
            dependencies: ["EmbeddedPostgres", "LibPQ", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings
        ),
        .testTarget(name: "JobFeedClientTests", dependencies: ["JobFeedClient", "jobfeed"], swiftSettings: settings),
        .testTarget(
            name: "GatewayTests",
            dependencies: [
                "Feed", "Fuzz", "Gateway", "JobFeedProtocol", "WebSocketTransport",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
                .product(name: "JWTKit", package: "jwt-kit"),
            ],
            swiftSettings: settings
        ),
    ]
)
