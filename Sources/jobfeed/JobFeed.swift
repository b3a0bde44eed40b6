import ArgumentParser

@main
struct JobFeed: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobfeed",
        abstract: "Follow jobs from a terminal.",
        discussion: """
            Shell completions: jobfeed --generate-completion-script bash (or zsh, fish) prints a script to install, \
            for example in ~/.local/share/bash-completion/completions/jobfeed.
            """,
        subcommands: [TailCommand.self]
    )
}
