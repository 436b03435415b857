# bash completion of openshell; made by: openshell completions bash
_openshell() {
    local cur=${COMP_WORDS[COMP_CWORD]} program word i
    local -a words=()
    # bash splits words at '=' and ':', the program takes them whole.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((${#words[@]})) && [[ $word == [=:]* || ${COMP_WORDS[i - 1]} == *[=:] ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    [[ $cur == [=:] ]] && cur=
    program=$(type -P -- "${COMP_WORDS[0]}") || program=openshell
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        if [[ $word == :files ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do
                COMPREPLY+=("$word")
            done < <(compgen -f -- "$cur")
        else
            COMPREPLY+=("${word#"${words[-1]%"$cur"}"}")
        fi
    done < <("$program" __complete -- "${words[@]}" 2>/dev/null </dev/null)
}
complete -F _openshell openshell
