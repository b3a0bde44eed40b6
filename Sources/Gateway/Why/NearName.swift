import Foundation

/// Names that people take for the same and Postgres does not.
enum NearName {
    /// In what two different names differ, when a reader would hardly notice; `nil` otherwise.
    static func difference(_ left: String, _ right: String) -> String? {
        if left.utf8.elementsEqual(right.utf8) { return nil }
        let differences: [(String, (String) -> String)] = [
            ("white space", self.withoutSpace),
            ("the case of letters", { $0.lowercased() }),
            ("Unicode normalisation", { $0.precomposedStringWithCompatibilityMapping }),
        ]
        for (name, fold) in differences where self.isSame(fold(left), fold(right)) { return name }
        return self.isSame(self.folded(left), self.folded(right)) ? "case, white space and normalisation" : nil
    }

    static func folded(_ name: String) -> String {
        self.withoutSpace(name.precomposedStringWithCompatibilityMapping.lowercased())
            .precomposedStringWithCompatibilityMapping
    }

    private static func isSame(_ left: String, _ right: String) -> Bool { left.utf8.elementsEqual(right.utf8) }

    /// Also without characters that show nothing.
    private static func withoutSpace(_ name: String) -> String {
        String(
            String.UnicodeScalarView(
                name.unicodeScalars.filter {
                    !$0.properties.isWhitespace && $0.properties.generalCategory != .format
                        && $0.properties.generalCategory != .control
                }
            )
        )
    }
}
