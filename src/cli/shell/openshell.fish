# fish completion of openshell; made by: openshell completions fish
function __openshell_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    command -q -- $program; or set program openshell
    for line in ($program __complete -- $words "$current" 2>/dev/null </dev/null)
        if test "$line" != :files
            echo $line
        else if string match -q -- '-*=*' "$current"
            set -l flag (string replace -r '=.*' '=' -- "$current")
            __fish_complete_path (string replace -r '^[^=]*=' '' -- "$current") | string replace -r '^' -- "$flag"
        else
            __fish_complete_path "$current"
        end
    end
end
complete -c openshell -f -a '(__openshell_complete)'
