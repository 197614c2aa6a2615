# Ends what runs from a folder (stop), or adds it to the user's PATH (add) or removes it from there (remove).
param([string]$Action, [string]$Folder)
$ErrorActionPreference = 'Stop'
if ($Action -eq 'stop') {
    $inside = $Folder.TrimEnd('\') + '\'
    Get-Process |
        Where-Object { $_.Path -and $_.Name -ne 'uninstall' -and $_.Path.StartsWith($inside, 'OrdinalIgnoreCase') } |
        Stop-Process -Force -ErrorAction SilentlyContinue
    exit 0
}
# Not by [Environment]: that would write the expanded values of %USERPROFILE% and the like.
$key = [Microsoft.Win32.Registry]::CurrentUser.OpenSubKey('Environment', $true)
$path = [string]$key.GetValue('Path', '', 'DoNotExpandEnvironmentNames')
$folders = @($path -split ';' | Where-Object { $_ -ne $Folder })
if ($Action -eq 'add') {
    $folders = @($folders | Where-Object { $_ }) + $Folder
}
$new = $folders -join ';'
if ($new -eq '') {
    $key.DeleteValue('Path', $false)
} elseif ($new -ne $path) {
    $key.SetValue('Path', $new, 'ExpandString')
}
