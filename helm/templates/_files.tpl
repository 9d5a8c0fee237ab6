{{/*
Sources of the volume /etc/bridge-files: keys, logins and certificates. Whole volumes, no subPath, so
that what is rotated arrives.
*/}}
{{- define "agent-event-bridge.files" -}}
{{- with .Values.auth }}
{{- include "agent-event-bridge.source" (list "secret" .privateKey.existingSecret (dict "jwt-private.pem" .privateKey.key)) }}
{{- include "agent-event-bridge.source" (list "secret" .publicKey.existingSecret (dict "jwt-public.pem" .publicKey.key)) }}
{{- include "agent-event-bridge.source" (list "configMap" .publicKey.existingConfigMap (dict "jwt-public.pem" .publicKey.key)) }}
{{- include "agent-event-bridge.source" (list "secret" .jwks.existingSecret (dict "jwks.json" .jwks.key)) }}
{{- include "agent-event-bridge.source" (list "configMap" .jwks.existingConfigMap (dict "jwks.json" .jwks.key)) }}
{{- end }}
{{- if .Values.nats.enabled }}
{{- include "agent-event-bridge.source" (list "secret" (include "agent-event-bridge.natsTlsSecret" .) (dict "nats-ca.crt" "ca.crt")) }}
{{- else }}
{{- with .Values.externalNats }}
{{- include "agent-event-bridge.source" (list "secret" .existingSecret (dict "nats.creds" .credentialsKey "nats.nk" .nkeyKey)) }}
{{- $pair := dict "nats-tls.crt" .tls.certKey "nats-tls.key" .tls.keyKey }}
{{- $ca := dict "nats-ca.crt" .tls.caKey }}
{{- if .tls.existingConfigMap }}
{{- include "agent-event-bridge.source" (list "configMap" .tls.existingConfigMap $ca) }}
{{- else }}
{{- $pair = merge $pair $ca }}
{{- end }}
{{- include "agent-event-bridge.source" (list "secret" .tls.existingSecret $pair) }}
{{- end }}
{{- end }}
{{- end }}

{{/* One source: kind, name, and the files with the keys that hold them; what is empty is left out. */}}
{{- define "agent-event-bridge.source" -}}
{{- $items := list -}}
{{- range $path, $key := index . 2 -}}
{{- if $key }}{{ $items = append $items (dict "key" $key "path" $path) }}{{ end -}}
{{- end -}}
{{- if and (index . 1) $items }}
- {{ index . 0 }}:
    name: {{ index . 1 | quote }}
    items:
      {{- toYaml $items | nindent 6 }}
{{- end }}
{{- end }}
