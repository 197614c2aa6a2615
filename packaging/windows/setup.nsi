; The setup for Windows, for one user and without administrator's rights. Made by `dev.py package windows`, which defines
; VERSION, TREE (the folder with all files), SCRIPTS (this folder) and OUT.
Unicode true
SetCompressor /SOLID lzma
!include MUI2.nsh
!include LogicLib.nsh
!include x64.nsh

Name "Meshlight"
OutFile "${OUT}"
InstallDir "$LOCALAPPDATA\Programs\Meshlight"
RequestExecutionLevel user
ManifestDPIAware true
BrandingText "Meshlight ${VERSION}"
VIProductVersion "${VERSION}.0"
VIAddVersionKey ProductName "Meshlight"
VIAddVersionKey ProductVersion "${VERSION}"
VIAddVersionKey FileVersion "${VERSION}"
VIAddVersionKey FileDescription "Setup of Meshlight"
VIAddVersionKey LegalCopyright "The Meshlight authors, Apache-2.0"

!define UNINSTALL "Software\Microsoft\Windows\CurrentVersion\Uninstall\Meshlight"
!define LINKS "Software\Classes\meshlight"
!define RUN "Software\Microsoft\Windows\CurrentVersion\Run"
!define WEBVIEW "Microsoft\EdgeUpdate\Clients\{F3017226-FE2A-4295-8BDF-00C3A9A7E4C5}"
; Not the 32-bit one beside this 32-bit setup: that does not see where 64-bit programs run from.
!define POWERSHELL '"$WINDIR\sysnative\WindowsPowerShell\v1.0\powershell.exe" -NoProfile -NonInteractive -ExecutionPolicy Bypass'

!define MUI_ICON "${TREE}\meshlight.ico"
!define MUI_UNICON "${TREE}\meshlight.ico"
!define MUI_FINISHPAGE_RUN "$INSTDIR\meshlightw.exe"
!define MUI_FINISHPAGE_RUN_PARAMETERS "desktop"
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE English

!macro helper action
  InitPluginsDir
  File "/oname=$PLUGINSDIR\setup.ps1" "${SCRIPTS}\setup.ps1"
  nsExec::ExecToLog '${POWERSHELL} -File "$PLUGINSDIR\setup.ps1" ${action} "$INSTDIR"'
  Pop $0
!macroend

; Running requests are finished first; what is left after that is ended.
!macro stop
  ${If} ${FileExists} "$INSTDIR\meshlight.exe"
    DetailPrint "Ending Meshlight, after its running requests"
    nsExec::ExecToLog '"$INSTDIR\meshlight.exe" quit'
    Pop $0
  ${EndIf}
  !insertmacro helper stop
!macroend

; What we made and nothing else, so that no file of an older version stays.
!macro wipe
  ${Do}
    RMDir /r "$INSTDIR\app"
    Delete "$INSTDIR\meshlight.exe"
    Delete "$INSTDIR\meshlightw.exe"
    Delete "$INSTDIR\meshlight.ico"
    Delete "$INSTDIR\licences.txt"
    ${IfNot} ${FileExists} "$INSTDIR\app\*.*"
    ${AndIfNot} ${FileExists} "$INSTDIR\meshlight.exe"
    ${AndIfNot} ${FileExists} "$INSTDIR\meshlightw.exe"
      ${ExitDo}
    ${EndIf}
    MessageBox MB_RETRYCANCEL|MB_ICONEXCLAMATION "Files in $INSTDIR are in use. Close what runs from there." /SD IDCANCEL IDRETRY +2
    Abort "Files in $INSTDIR are in use."
  ${Loop}
!macroend

Function .onInit
  ${IfNot} ${RunningX64}
    MessageBox MB_ICONSTOP "Meshlight needs a 64-bit Windows." /SD IDOK
    SetErrorLevel 2
    Quit
  ${EndIf}
FunctionEnd

Section
  SetShellVarContext current
  SetRegView 64
  !insertmacro stop
  !insertmacro wipe
  SetOutPath "$INSTDIR"
  File /r "${TREE}\*.*"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  CreateShortCut "$SMPROGRAMS\Meshlight.lnk" "$INSTDIR\meshlightw.exe" "desktop" "$INSTDIR\meshlight.ico"
  WriteRegStr HKCU "${LINKS}" "" "URL:Meshlight"
  WriteRegStr HKCU "${LINKS}" "URL Protocol" ""
  WriteRegStr HKCU "${LINKS}\DefaultIcon" "" "$INSTDIR\meshlight.ico"
  WriteRegStr HKCU "${LINKS}\shell\open\command" "" '"$INSTDIR\meshlightw.exe" link --start -- "%1"'
  WriteRegStr HKCU "${UNINSTALL}" "DisplayName" "Meshlight"
  WriteRegStr HKCU "${UNINSTALL}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${UNINSTALL}" "DisplayIcon" "$INSTDIR\meshlight.ico"
  WriteRegStr HKCU "${UNINSTALL}" "Publisher" "The Meshlight authors"
  WriteRegStr HKCU "${UNINSTALL}" "URLInfoAbout" "${HOMEPAGE}"
  WriteRegStr HKCU "${UNINSTALL}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${UNINSTALL}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${UNINSTALL}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKCU "${UNINSTALL}" "NoModify" 1
  WriteRegDWORD HKCU "${UNINSTALL}" "NoRepair" 1
  WriteRegDWORD HKCU "${UNINSTALL}" "EstimatedSize" ${SIZE_KB}
  !insertmacro helper add
  SendMessage ${HWND_BROADCAST} ${WM_SETTINGCHANGE} 0 "STR:Environment" /TIMEOUT=2000
  ReadRegStr $0 HKCU "Software\${WEBVIEW}" "pv"
  ${If} $0 == ""
    ReadRegStr $0 HKLM "SOFTWARE\WOW6432Node\${WEBVIEW}" "pv"
  ${EndIf}
  ${If} $0 == ""
    DetailPrint "Microsoft Edge WebView2 is not here: Meshlight's page will open in the browser."
  ${EndIf}
SectionEnd

Section Uninstall
  SetShellVarContext current
  SetRegView 64
  ; The program removes what it made for this user (start at login), ends itself, and with --all knows where keys lie.
  ${If} ${FileExists} "$INSTDIR\meshlight.exe"
    MessageBox MB_YESNO|MB_ICONQUESTION|MB_DEFBUTTON2 "Remove your settings, the keys of all backends, pairings and logs as well?" /SD IDNO IDYES everything
    nsExec::ExecToLog '"$INSTDIR\meshlight.exe" uninstall'
    Goto removed
    everything:
    nsExec::ExecToLog '"$INSTDIR\meshlight.exe" uninstall --all --yes'
    removed:
    Pop $0
  ${EndIf}
  !insertmacro stop
  !insertmacro helper remove
  SendMessage ${HWND_BROADCAST} ${WM_SETTINGCHANGE} 0 "STR:Environment" /TIMEOUT=2000
  !insertmacro wipe
  Delete "$SMPROGRAMS\Meshlight.lnk"
  DeleteRegValue HKCU "${RUN}" "Meshlight"
  DeleteRegKey HKCU "${LINKS}"
  DeleteRegKey HKCU "${UNINSTALL}"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR" ; only if nothing of the user's is in it
SectionEnd
