/// The demo page's files, embedded as they stand beside this one, so that one binary serves them.
package enum WebDemo {
    package struct File: Sendable {
        /// The path of its URL.
        package let path: String
        package let contentType: String
        package let bytes: [UInt8]
    }

    package static let files = [
        File(path: "/activity.js", contentType: "text/javascript; charset=utf-8", bytes: PackageResources.activity_js),
        File(path: "/app.js", contentType: "text/javascript; charset=utf-8", bytes: PackageResources.app_js),
        File(path: "/detail.js", contentType: "text/javascript; charset=utf-8", bytes: PackageResources.detail_js),
        File(path: "/favicon.svg", contentType: "image/svg+xml", bytes: PackageResources.favicon_svg),
        File(path: "/format.js", contentType: "text/javascript; charset=utf-8", bytes: PackageResources.format_js),
        File(path: "/index.html", contentType: "text/html; charset=utf-8", bytes: PackageResources.index_html),
        File(path: "/", contentType: "text/html; charset=utf-8", bytes: PackageResources.index_html),
        File(path: "/jobfeed.js", contentType: "text/javascript; charset=utf-8", bytes: PackageResources.jobfeed_js),
        File(path: "/joblist.js", contentType: "text/javascript; charset=utf-8", bytes: PackageResources.joblist_js),
        File(path: "/ordered.js", contentType: "text/javascript; charset=utf-8", bytes: PackageResources.ordered_js),
        File(path: "/style.css", contentType: "text/css; charset=utf-8", bytes: PackageResources.style_css),
        File(path: "/theme.js", contentType: "text/javascript; charset=utf-8", bytes: PackageResources.theme_js),
    ]
}
