cask "meshlight" do
  version "@version@"
  sha256 "@dmg_sha256@"

  url "@homepage@/releases/download/v#{version}/meshlight-#{version}-macos-arm64.dmg"
  name "Meshlight"
  desc "Router for every language model you can reach"
  homepage "@homepage@"

  livecheck do
    url :url
    strategy :github_latest
  end

  depends_on arch: :arm64
  depends_on macos: ">= :big_sur"

  app "Meshlight.app"
  binary "#{appdir}/Meshlight.app/Contents/MacOS/meshlight"

  uninstall launchctl: "dev.meshlight.tray",
            quit:      "dev.meshlight"

  zap trash: [
    "~/Library/Application Support/meshlight",
    "~/Library/Caches/meshlight",
    "~/Library/LaunchAgents/dev.meshlight.tray.plist",
    "~/Library/Logs/meshlight",
  ]
end
