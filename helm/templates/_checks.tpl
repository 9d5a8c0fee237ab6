{{/* What does not go together, each with what to set instead. A schema could not say that. */}}
{{- define "agent-event-bridge.checks" -}}
{{- include "agent-event-bridge.checkNames" . -}}
{{- include "agent-event-bridge.checkSettings" . -}}
{{- include "agent-event-bridge.checkPorts" . -}}
{{- include "agent-event-bridge.checkService" . -}}
{{- include "agent-event-bridge.checkScaling" . -}}
{{- range .Values.extraEnv -}}
{{- if hasPrefix "BRIDGE_" .name -}}
{{- fail (printf "extraEnv holds %s: set settings.%s, which says where else it belongs" .name (trimPrefix "BRIDGE_" .name | lower)) -}}
{{- end -}}
{{- end -}}
{{- include "agent-event-bridge.checkNats" . -}}
{{- include "agent-event-bridge.checkAuth" . -}}
{{- end }}

{{- define "agent-event-bridge.checkPorts" -}}
{{- if eq (int .Values.internalPort) (int .Values.containerPort) -}}
{{- fail (printf "internalPort and containerPort are both %d: set another internalPort, or 0 for one port" (int .Values.internalPort)) -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not (and .Values.ingress.hosts .Values.deployment.enabled)) -}}
{{- fail "ingress.enabled needs ingress.hosts and deployment.enabled" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not (and .Values.httpRoute.parentRefs .Values.deployment.enabled)) -}}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs and deployment.enabled" -}}
{{- end -}}
{{- end }}

{{- define "agent-event-bridge.checkService" -}}
{{- with .Values.service -}}
{{- if eq .type "ClusterIP" -}}
{{- range $field := list "nodePort" "externalTrafficPolicy" -}}
{{- if get $.Values.service $field -}}
{{- fail (printf "service.%s is not for service.type ClusterIP: set service.type to NodePort or LoadBalancer" $field) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if ne .type "LoadBalancer" -}}
{{- range $field := list "loadBalancerIP" "loadBalancerClass" "loadBalancerSourceRanges" -}}
{{- if get $.Values.service $field -}}
{{- fail (printf "service.%s is for a load balancer: set service.type to LoadBalancer" $field) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.deployment.strategy -}}
{{- if and (eq .type "Recreate") .rollingUpdate -}}
{{- fail "deployment.strategy.type Recreate has no rollingUpdate: set deployment.strategy.rollingUpdate to null" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "agent-event-bridge.checkScaling" -}}
{{- with .Values.autoscaling -}}
{{- if .enabled -}}
{{- if not (or .targetCPUUtilizationPercentage .targetMemoryUtilizationPercentage .targetWaitingPolls) -}}
{{- fail "autoscaling.enabled needs something to aim at: set autoscaling.targetCPUUtilizationPercentage, targetMemoryUtilizationPercentage or targetWaitingPolls" -}}
{{- end -}}
{{- range $resource, $target := dict "cpu" "targetCPUUtilizationPercentage" "memory" "targetMemoryUtilizationPercentage" -}}
{{- $given := (get ($.Values.resources.requests | default dict) $resource) | default (get ($.Values.resources.limits | default dict) $resource) -}}
{{- if and (get $.Values.autoscaling $target) (not $given) -}}
{{- fail (printf "autoscaling.%s is in percent of a request for %s, and there is none: set resources.requests.%s, or autoscaling.%s: null and another target" $target $resource $resource $target) -}}
{{- end -}}
{{- end -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas is %d, more than autoscaling.maxReplicas, %d" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "agent-event-bridge.checkSettings" -}}
{{- $elsewhere := dict
  "port" "containerPort"
  "internal_port" "internalPort"
  "config_dir" "catalog, for what would be in that folder"
  "data_dir" "nothing: a bridge with a NATS of its own outside stores no files"
  "nats_server_binary" "nothing: the chart's bridges never start a NATS themselves"
  "nats_name" "nothing: it is made of the release and the pod"
  "nats_url" "externalNats.urls, with nats.enabled: false"
  "nats_credentials_file" "externalNats.existingSecret and externalNats.credentialsKey"
  "nats_nkey_file" "externalNats.existingSecret and externalNats.nkeyKey"
  "nats_user" "externalNats.existingSecret and externalNats.userKey"
  "nats_password" "externalNats.existingSecret and externalNats.passwordKey"
  "nats_token" "externalNats.existingSecret and externalNats.tokenKey"
  "nats_tls_ca" "externalNats.tls.existingSecret (or existingConfigMap) and externalNats.tls.caKey"
  "nats_tls_cert" "externalNats.tls.existingSecret and externalNats.tls.certKey"
  "nats_tls_key" "externalNats.tls.existingSecret and externalNats.tls.keyKey"
  "nats_tls_hostname" "externalNats.tls.hostname"
  "nats_inbox_prefix" "externalNats.inboxPrefix"
  "jwt_secret" "auth.existingSecret and auth.secretKey"
  "jwt_public_key" "auth.publicKey"
  "jwt_private_key" "auth.privateKey.existingSecret"
  "jwt_jwks" "auth.jwks" -}}
{{- range $name, $value := .Values.settings -}}
{{- with get $elsewhere $name -}}
{{- fail (printf "settings.%s cannot be set there; set %s" $name .) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "agent-event-bridge.checkNats" -}}
{{- $nats := .Values.externalNats -}}
{{- $url := include "agent-event-bridge.natsUrl" . -}}
{{- $host := include "agent-event-bridge.natsHost" . -}}
{{- if and .Values.nats.enabled $nats.urls -}}
{{- fail "nats.enabled and externalNats.urls are both set; for your own NATS set nats.enabled: false, for the bundled one leave externalNats.urls empty" -}}
{{- else if not $url -}}
{{- fail "there is no NATS: set externalNats.urls to its servers, such as nats://nats.example.org:4222, or nats.enabled: true to install one" -}}
{{- else if contains "@" $url -}}
{{- fail "externalNats.urls holds a login, which everybody who may read the pod would see; put it into a Secret and set externalNats.existingSecret, with userKey and passwordKey or tokenKey" -}}
{{- end -}}
{{- if and .Values.nats.enabled (eq (toString ((.Subcharts.nats).Chart).Version) "0.0.0") -}}
{{- fail "charts/nats is an empty chart in the place of NATS's: delete it and run helm dependency update, or set nats.enabled: false and externalNats.urls" -}}
{{- end -}}
{{- $tls := ((.Values.nats.config).nats).tls | default dict -}}
{{- if and .Values.nats.enabled $tls.enabled (not $tls.secretName) -}}
{{- fail (printf "nats.config.nats.tls.enabled needs nats.config.nats.tls.secretName: a Secret with tls.crt, tls.key and ca.crt, whose certificate is for %s and %s.%s" $host $host .Release.Namespace) -}}
{{- end -}}
{{- if and .Values.nats.enabled .Values.nats.namespaceOverride -}}
{{- fail "nats.namespaceOverride is not for the bundled NATS, whose users are in the namespace of the release; install the nats chart on its own and set nats.enabled: false and externalNats.urls" -}}
{{- end -}}
{{- if .Values.nats.enabled -}}
{{- $servers := include "agent-event-bridge.natsServers" . | int -}}
{{- $replicas := include "agent-event-bridge.setting" (list . "stream_replicas" 1) | int -}}
{{- if gt $replicas $servers -}}
{{- fail (printf "settings.stream_replicas is %d, but the bundled NATS has %d server(s): set nats.config.cluster.enabled: true and nats.config.cluster.replicas to at least that, or leave settings.stream_replicas out, which follows them" $replicas $servers) -}}
{{- end -}}
{{- $event := include "agent-event-bridge.setting" (list . "max_event_bytes" 0) | float64 | int -}}
{{- $payload := ((.Values.nats.config).merge).max_payload | default 1048576 -}}
{{- /* With a unit, such as << 8MB >>, it is left to those who wrote it. */ -}}
{{- if and (not (kindIs "string" $payload)) (gt $event (int $payload)) -}}
{{- fail (printf "settings.max_event_bytes is %d, but the bundled NATS takes messages of at most %d bytes: set nats.config.merge.max_payload to more than the event, for its headers" $event (int $payload)) -}}
{{- end -}}
{{- end -}}
{{- $logins := list -}}
{{- range $key := list "credentialsKey" "nkeyKey" "tokenKey" "userKey" -}}
{{- if get $nats $key }}{{ $logins = append $logins $key }}{{ end -}}
{{- end -}}
{{- if gt (len $logins) 1 -}}
{{- fail (printf "externalNats has more than one login, keep one: %s" (join ", " $logins)) -}}
{{- else if and $logins (not $nats.existingSecret) -}}
{{- fail (printf "externalNats.%s names a key of externalNats.existingSecret, which is not set" (first $logins)) -}}
{{- else if and $nats.existingSecret (not $logins) -}}
{{- fail "externalNats.existingSecret is set, but not which key holds the login: set externalNats.credentialsKey, nkeyKey, tokenKey, or userKey and passwordKey" -}}
{{- end -}}
{{- if ne (empty $nats.userKey) (empty $nats.passwordKey) -}}
{{- fail "externalNats.userKey and externalNats.passwordKey go together: set both or neither" -}}
{{- end -}}
{{- with $nats.tls -}}
{{- if ne (empty .certKey) (empty .keyKey) -}}
{{- fail "externalNats.tls.certKey and externalNats.tls.keyKey go together: set both or neither" -}}
{{- else if and .certKey (not .existingSecret) -}}
{{- fail "externalNats.tls.certKey names a key of externalNats.tls.existingSecret, which is not set" -}}
{{- else if and .caKey (not (or .existingSecret .existingConfigMap)) -}}
{{- fail "externalNats.tls.caKey needs externalNats.tls.existingSecret or existingConfigMap" -}}
{{- else if and (or .existingSecret .existingConfigMap) (not (or .caKey .certKey)) -}}
{{- fail "externalNats.tls names a Secret or ConfigMap, but none of its keys: set caKey, or certKey and keyKey" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "agent-event-bridge.checkAuth" -}}
{{- $auth := .Values.auth -}}
{{- $algorithm := include "agent-event-bridge.setting" (list . "jwt_algorithm" "HS256") -}}
{{- $public := list -}}
{{- range $kind := list "publicKey" "jwks" -}}
{{- range $way := list "value" "url" "existingSecret" "existingConfigMap" -}}
{{- if get (get $auth $kind) $way }}{{ $public = append $public (printf "auth.%s.%s" $kind $way) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $pair := $public -}}
{{- if $auth.privateKey.existingSecret }}{{ $pair = append $public "auth.privateKey.existingSecret" }}{{ end -}}
{{- if gt (len $public) 1 -}}
{{- fail (printf "more than one place says which key to trust, keep one: %s" (join ", " $public)) -}}
{{- end -}}
{{- if include "agent-event-bridge.asymmetric" . -}}
{{- if $auth.existingSecret -}}
{{- fail (printf "settings.jwt_algorithm is %s, which has no shared secret: unset auth.existingSecret, or set settings.jwt_algorithm to HS256" $algorithm) -}}
{{- else if not $pair -}}
{{- fail (printf "settings.jwt_algorithm is %s and there is no key for it: set auth.publicKey, auth.jwks or auth.privateKey" $algorithm) -}}
{{- end -}}
{{- else if $pair -}}
{{- fail (printf "%s is for a key pair, but settings.jwt_algorithm is %s: set it to that of your key, such as RS256, ES256 or EdDSA" (first $pair) $algorithm) -}}
{{- end -}}
{{- end }}
