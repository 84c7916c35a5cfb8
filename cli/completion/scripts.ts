// The scripts that make shells complete the command: each asks the command itself, and does with the answer what its shell needs. Pure.
import { DIRECTIVES } from './complete.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** What the user adds to the start-up file of the shell. */
export const INSTALLATION: Record<Shell, string> = {
  bash: 'source <(breakwater completion bash)      # in ~/.bashrc',
  zsh: 'source <(breakwater completion zsh)       # in ~/.zshrc, after compinit',
  fish: 'breakwater completion fish | source       # in ~/.config/fish/config.fish',
};

const { noSpace, noFiles, fileEndings, folders } = DIRECTIVES;

// The words are taken from the line: bash splits them at ":" and "=" too, and wants candidates without what stands before those.
const BASH = `# bash completion for breakwater: source <(breakwater completion bash)
_breakwater_complete() {
  local line="\${COMP_LINE:0:COMP_POINT}" last="\${COMP_WORDS[COMP_CWORD]}" cur prefix out directive value name ending
  local -a words
  COMPREPLY=()
  read -r -a words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  cur="\${words[\${#words[@]}-1]}"
  [[ $last == '=' || $last == ':' ]] && last=''
  prefix="\${cur%"$last"}"
  out="$("\${words[0]}" __complete "\${words[@]:1}" 2>/dev/null)" || return 0
  directive="\${out##*:}"
  out="\${out%:*}"
  if (( directive & ${noSpace} )); then compopt -o nospace 2>/dev/null; fi
  if (( directive & ${fileEndings} )); then
    compopt -o filenames 2>/dev/null
    while IFS= read -r name; do
      if [[ -d $name ]]; then COMPREPLY+=("$name"); continue; fi
      while IFS= read -r ending; do
        [[ -n $ending && $name == *."$ending" ]] && COMPREPLY+=("$name")
      done <<< "$out"
    done < <(compgen -f -- "$last")
    return 0
  fi
  if (( directive & ${folders} )); then
    compopt -o filenames 2>/dev/null
    while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -d -- "$last")
    return 0
  fi
  while IFS= read -r value; do
    value="\${value%%$'\\t'*}"
    [[ -n $value && $value == "$cur"* ]] && COMPREPLY+=("\${value#"$prefix"}")
  done <<< "$out"
  if (( ! (directive & ${noFiles}) )) && (( \${#COMPREPLY[@]} == 0 )); then
    compopt -o filenames 2>/dev/null
    while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$last")
  fi
}
complete -F _breakwater_complete breakwater
`;

const ZSH = `#compdef breakwater
# zsh completion for breakwater: source <(breakwater completion zsh)
_breakwater() {
  local out directive line value
  local -a lines endings candidates options
  out="$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)" || return 1
  lines=("\${(@f)out}")
  directive="\${lines[-1]#:}"
  lines=("\${(@)lines[1,-2]}")
  if (( directive & ${fileEndings} )); then
    endings=("\${(@)lines:#}")
    compset -P '--*='
    _files -g "*.(\${(j:|:)endings})"
    return
  fi
  if (( directive & ${folders} )); then
    compset -P '--*='
    _files -/
    return
  fi
  if (( directive & ${noSpace} )); then options=(-S ''); fi
  for line in "\${(@)lines:#}"; do
    value="\${line%%$'\\t'*}"
    if [[ $line == *$'\\t'* ]]; then candidates+=("\${value//:/\\\\:}:\${line#*$'\\t'}"); else candidates+=("\${value//:/\\\\:}"); fi
  done
  if (( \${#candidates} )); then _describe -t breakwater breakwater candidates "\${options[@]}"; return; fi
  (( directive & ${noFiles} )) || _files
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _breakwater "$@"; else compdef _breakwater breakwater; fi
`;

const FISH = `# fish completion for breakwater: breakwater completion fish | source
function __breakwater_complete
  set -l tokens (commandline -opc)
  set -l current (commandline -ct)
  set -l lines ($tokens[1] __complete $tokens[2..-1] "$current" 2>/dev/null)
  or return
  set -l directive (string replace ':' '' -- $lines[-1])
  set -e lines[-1]
  if test (math "floor($directive / ${fileEndings}) % 2") -eq 1
    for path in (__fish_complete_path (string replace -r '^--[^=]*=' '' -- $current))
      set -l name (string split \\t -- $path)[1]
      if string match -q '*/' -- $name
        echo $name
      else
        for ending in $lines
          string match -q "*.$ending" -- $name; and echo $name
        end
      end
    end
    return
  end
  if test (math "floor($directive / ${folders}) % 2") -eq 1
    __fish_complete_directories $current
    return
  end
  printf '%s\\n' $lines
end
complete -c breakwater -f -a '(__breakwater_complete)'
`;

export const SCRIPTS: Record<Shell, string> = { bash: BASH, zsh: ZSH, fish: FISH };
