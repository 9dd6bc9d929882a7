from lib import *
import random
for kind in sys.argv[1:] or ['my','maria','pg']:
    url=newdb(kind,'brk_c'); a=Svc(url); b=Svc(url)
    q=(lambda s: pg(15432,s,db='brk_c')) if kind=='pg' else (lambda s: my({'my':23307,'maria':13306}[kind],s.replace('"','`'),db='brk_c'))
    N=150
    with ThreadPoolExecutor(16) as ex: list(ex.map(lambda i:a.call(f'e{i}@x',None),range(N)))
    q('UPDATE "Contact" SET "deletedAt"="createdAt"')
    bad=[]
    with ThreadPoolExecutor(16) as ex:
        # in small waves: each wave 8 distinct emails, asked by both replicas with other phones
        for w in range(0,N,4):
            f=[]
            for i in range(w,min(w+4,N)):
                f.append(ex.submit(a.call,f'e{i}@x',f'1{i:04}')); f.append(ex.submit(b.call,f'e{i}@x',f'2{i:04}'))
            bad+=[show(x.result()) for x in f if x.result()[0]!=200]
    print(kind,'errors',bad[:3])
    print('emails carried by live contacts of two identities:',q('''SELECT count(*) FROM (SELECT email FROM "Contact" WHERE "deletedAt" IS NULL GROUP BY email HAVING count(DISTINCT COALESCE("linkedId",id))>1) t'''), 'of',N)
    print(q('''SELECT * FROM (SELECT email,min(id),max(id),min("linkPrecedence"),count(*) FROM "Contact" WHERE "deletedAt" IS NULL GROUP BY email HAVING count(DISTINCT COALESCE("linkedId",id))>1) t LIMIT 3'''))
    a.stop(); b.stop()
