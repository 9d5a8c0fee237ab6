{{/* "true" where tokens are checked with a key pair instead of a shared secret. */}}
{{- define "agent-event-bridge.asymmetric" -}}
{{- if not (hasPrefix "HS" (include "agent-event-bridge.setting" (list . "jwt_algorithm" "HS256"))) }}true{{ end }}
{{- end }}

{{/* "true" where bridges can make tokens. */}}
{{- define "agent-event-bridge.canSign" -}}
{{- if or (not (include "agent-event-bridge.asymmetric" .)) .Values.auth.privateKey.existingSecret }}true{{ end }}
{{- end }}

{{/* "true" where there is a pod for `helm test`. */}}
{{- define "agent-event-bridge.hasTest" -}}
{{- with .Values.tests }}
{{- if and .enabled $.Values.deployment.enabled (or .tokenSecret.name (include "agent-event-bridge.canSign" $)) }}true{{ end }}
{{- end }}
{{- end }}

{{/* The Secret with the shared secret that tokens are signed with. */}}
{{- define "agent-event-bridge.secretName" -}}
{{- .Values.auth.existingSecret | default (printf "%s-jwt" (include "agent-event-bridge.fullname" .)) }}
{{- end }}

{{- define "agent-event-bridge.authEnv" -}}
{{- with .Values.auth }}
{{- if not (include "agent-event-bridge.asymmetric" $) }}
{{- include "agent-event-bridge.secretEnv" (list "BRIDGE_JWT_SECRET" (include "agent-event-bridge.secretName" $) .secretKey) }}
{{- end }}
{{- if .publicKey.value }}
- name: BRIDGE_JWT_PUBLIC_KEY
  value: /etc/bridge/jwt-public.pem
{{- else if or .publicKey.existingSecret .publicKey.existingConfigMap }}
- name: BRIDGE_JWT_PUBLIC_KEY
  value: /etc/bridge-files/jwt-public.pem
{{- end }}
{{- if .jwks.url }}
- name: BRIDGE_JWT_JWKS
  value: {{ .jwks.url | quote }}
{{- else if .jwks.value }}
- name: BRIDGE_JWT_JWKS
  value: /etc/bridge/jwks.json
{{- else if or .jwks.existingSecret .jwks.existingConfigMap }}
- name: BRIDGE_JWT_JWKS
  value: /etc/bridge-files/jwks.json
{{- end }}
{{- if .privateKey.existingSecret }}
- name: BRIDGE_JWT_PRIVATE_KEY
  value: /etc/bridge-files/jwt-private.pem
{{- end }}
{{- end }}
{{- end }}

{{/*
A random value of 64 letters in base64, for a list of context, Secret and key: the one in the cluster,
or a new one, which is remembered because it is asked for more than once. Letters alone, because
nats-server reads a password that begins with a digit as a number.
*/}}
{{- define "agent-event-bridge.generated" -}}
{{- $root := index . 0 -}}{{- $secret := index . 1 -}}{{- $key := index . 2 -}}
{{- $memo := printf "generated/%s/%s" $secret $key -}}
{{- if not (hasKey $root.Values $memo) -}}
{{- $kept := (lookup "v1" "Secret" $root.Release.Namespace $secret).data | default dict -}}
{{- $_ := set $root.Values $memo (get $kept $key | default (randAlpha 64 | b64enc)) -}}
{{- end -}}
{{- get $root.Values $memo }}
{{- end }}
