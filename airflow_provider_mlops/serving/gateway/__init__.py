"""The gateway: serves predictions over HTTP and gRPC, logs them, accepts labels, follows rollouts, has an admin API.

Folders
-------
- `settings.py`: the options of `airflow-mlops serve`.
- `gateway.py`: `Gateway` connects all parts, handles the requests that are not predictions, and runs background tasks.
- `http/`: the HTTP protocol with its time limits, and the metrics.
- `predict/`: prediction requests, from the path to the response; batches, shadows and verification requests.
- `grpc/`: the gRPC port, whose predictions go through `predict/` as well.
- `information/`: metadata, the list of models, the repository index and statistics, for HTTP and gRPC.
- `pages/`: the pages for people at `/` and `/docs`.
- `rollouts/`: routes from the rollout store, and evidence into it.
- `access/`: who may do what: keys, limits of clients, TLS, web pages of other origins.
- `admin/`: the admin API, and changes that all workers apply.
- `workers/`: the supervisor, its workers, and the processes in which versions are tried; the gateway's own log.

One request, walked
-------------------
1. `http/http_protocol.py`, `HttpProtocol`: uvicorn parses HTTP; `CoalescingTransport` will send the response.
2. `predict/http_endpoint.py`, `FastPathApp.__call__`: a prediction path skips Starlette, and `protocols/routes.py`,
   `match_route` finds the protocol, model and version.
3. `predict/endpoint.py`, `PredictEndpoint._predict`: `access/access.py`, `Access.authorize` checks the key and the
   limits of the client; `models/served_models.py`, `ServedModels.get` finds the model.
4. `protocols/body.py`, `receive_body`: the body arrives, bounded in size, and is decompressed.
5. `predict/routed_request.py`, `route_request` if a rollout is in progress (`rollouts/rollout_follower.py`,
   `RolloutFollower.route`), else `ServedModel.choose`: a `RoutedRequest` with the choice and the version.
6. `protocols/protocol_v2.py` or `invocations.py`, `parse`, called by `parse_for_version`: a `ParsedRequest`, whose
   `rows` match the version's schema.
7. `predict/batcher.py`, `Batcher.submit`: the `Job` waits for its batch. A large body is parsed and predicted alone, in
   a thread (`PredictEndpoint._predict_large_body`).
8. `predict/predictor.py`, `predict_jobs`: `models/loaded_model.py`, `LoadedModel.predict` returns a `ModelResponse` for
   the batch, and `predict/batches.py`, `split` divides it.
9. `predict/predictor.py`, `_finish`: `ParsedRequest.encode` makes the body of the HTTP response, and `encode_record`
   the line for `log/write_ahead.py`, `WriteAhead.append`, which writes once per batch, before any response is sent.
10. `predict/batcher.py`, `_resolve` wakes the callers; `PredictEndpoint.answer` counts the request, and
    `HttpPredictEndpoint` responds, compressed if the response is large.
11. If the rollout has a shadow, `PredictEndpoint._copy` gives `predict/shadows.py`, `Shadows.offer` a copy.

A gRPC call begins in `grpc/servicer.py`, `Servicer._infer`, and continues at step 3.

An error at any step is a `RequestError` (`rows/request_error.py`), which becomes the response.
"""
