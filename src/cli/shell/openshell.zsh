#compdef openshell
# zsh completion of openshell; made by: openshell completions zsh
_openshell() {
    local program=${(Q)words[1]} line
    local -a described before
    (( $+commands[$program] )) || [[ -x $program ]] || program=openshell
    before=("${(@Q)words[2,CURRENT-1]}")
    (( CURRENT > 2 )) || before=()
    for line in "${(@f)$("$program" __complete -- "${before[@]}" "${(Q)PREFIX}" 2>/dev/null </dev/null)}"; do
        if [[ $line == :files ]]; then
            [[ $PREFIX == -*=* ]] && compset -P '*='
            _files
            return
        fi
        [[ -n $line ]] || continue
        if [[ $line == *$'\t'* ]]; then
            described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        else
            described+=("${line//:/\\:}")
        fi
    done
    (( ${#described} )) && _describe openshell described
}
if [[ ${funcstack[1]} == _openshell ]]; then
    _openshell "$@"
else
    compdef _openshell openshell
fi
